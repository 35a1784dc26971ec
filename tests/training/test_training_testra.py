"""A run of TeSTra on windows: its predictions score as its test does, and mistakes are one line."""

import csv
import json

import numpy as np
import pytest
import torch

from anticipate.cli import main
from anticipate.nn.testra import OUTPUTS, TeSTra
from anticipate.training.loading import load
from tests.tiny import UNTESTED


class NoBackground(TeSTra):
    """Outputs without a column for the background."""

    def forward(self, *inputs):
        output = super().forward(*inputs)
        return output._replace(**{name: output._asdict()[name][..., 1:] for name in OUTPUTS})


TINY = [
    "--profile=demo",
    "--model.network.hidden_dim=8",
    "--model.network.num_heads=2",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=2",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]


@pytest.fixture(scope="module")
def run(request, tmp_path_factory, actions_file):
    """Folder of a tiny run of MixMamba, and its settings as words."""
    folder = tmp_path_factory.mktemp("runs")
    point = request.config.rootpath / "experiments" / "ablations" / "testra_block" / "mixmamba.yaml"
    words = ["--config", str(point), *TINY, f"--run_dir={folder}", f"--data.path={actions_file}"]
    main(["fit", *words])
    return folder / "testra_block" / "mixmamba" / "split_1" / "seed_0", words


def test_predictions_score_as_the_test_does(run, actions_file, tmp_path, capsys):
    folder, words = run
    predictions = str(tmp_path / "predictions.h5")
    main(["predict", *words, "--ckpt_path=last", f"--predictions.path={predictions}"])
    capsys.readouterr()
    options = ["--data", str(actions_file), "--missing", "drop", "--json"]
    main(["score", "short-term", predictions, *options])
    found = json.loads(capsys.readouterr().out)
    tested = json.loads((folder / "metrics.json").read_text())["scores"]["TeSTra (MixMamba)"]
    assert found["num_missing"] > 0  # segments in the first second, which no window may precede
    assert {name: found[name] for name in tested} == tested


def test_a_longer_training_is_another_one(run, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["fit", *run[1], "--trainer.max_epochs=2", "--ckpt_path=last"])
    assert "trainer.max_epochs was 1, now 2" in capsys.readouterr().err


def test_experts_of_each_segment_and_what_they_matter_are_explained(run, actions_file, tmp_path):
    ckpt, output = run[0] / "checkpoints" / "last.ckpt", tmp_path / "out"
    words = ["--ckpt", str(ckpt), "--data", str(actions_file), "--output", str(output)]
    main(["explain", "experts", *words])
    assert {path.name for path in output.iterdir()} == {
        *("usage.png", "usage.svg", "usage.csv", "selections.csv", "experts.json")
    }
    model, data = load(ckpt, actions_file)
    data.setup("test")
    batches = list(data.test_dataloader())
    with torch.no_grad():
        outputs = [model.network(batch.features) for batch in batches]
    gamma = torch.cat([one.gamma[0, 0] for one in outputs]).numpy()
    logits = torch.cat([one.action[:, -1, 1:] for one in outputs]).double().numpy()
    targets = np.concatenate([batch.targets for batch in batches])
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = json.loads((output / "experts.json").read_text())["with_balancing"]
    assert found["num_segments"] == len(targets)
    assert found["gamma_spread"] == pytest.approx(gamma.max(axis=1).mean() - 1 / 5, abs=1e-6)
    surprise = -np.log(chances[np.arange(len(targets)), targets]).mean()
    assert found["future_error"] == pytest.approx(surprise, rel=1e-5)
    assert len(found["forced_cost"]) == 5
    with (output / "selections.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["action"] for row in rows] == [data.vocabulary[target] for target in targets]
    experts = [int(row["block1_router1"]) for row in rows]
    assert experts == (gamma.argmax(axis=1) + 1).tolist()


def test_a_run_streams_tick_by_tick(run, actions_file, capsys):
    ckpt = run[0] / "checkpoints" / "last.ckpt"
    capsys.readouterr()
    words = ["--ckpt", str(ckpt), "--video", "P01_000", "--start=2", "--stop=3", "--json"]
    main(["stream", str(actions_file), *words])
    said = capsys.readouterr()
    times = [json.loads(line)["time"] for line in said.out.splitlines()]
    assert times == [2.0, 2.25, 2.5, 2.75, 3.0]
    assert "seen from 2 s on" in said.err
    assert "5 steps: median" in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data.windows=null"], "data.windows is null, but TeSTraAnticipator expects windows"),
        (
            ["--model.network.long_steps=4"],
            "data.windows has long_steps 0, the network 4: expected the same",
        ),
        (
            ["--data.windows.init_args.mixing=half"],
            "data.windows.mixing is half: expected one of none, span, released",
        ),
        (["--data.anticipation_time=2.0", UNTESTED], "TeSTra anticipates 0.5 or 1 second"),
        (
            ["--model.network.class_path=tests.training.test_training_testra.NoBackground"],
            "the network scores [44, 8, 12] actions, verbs and nouns: expected [45, 9, 13], the",
        ),
    ],
)
def test_mistakes_are_one_line(run, words, message, tmp_path, capsys):
    block = ["--model.network.block=attention"]
    with pytest.raises(SystemExit):
        main(["fit", *run[1], *block, *words, f"--run_dir={tmp_path}"])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
