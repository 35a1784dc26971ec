"""A run of TeSTra on windows: its predictions score as its test does, and mistakes are one line."""

import json

import pytest

from anticipate.cli import main

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
        (["--data.anticipation_time=2.0"], "TeSTra anticipates 0.5 or 1 second"),
    ],
)
def test_mistakes_are_one_line(run, words, message, tmp_path, capsys):
    block = ["--model.network.block=attention"]
    with pytest.raises(SystemExit):
        main(["fit", *run[1], *block, *words, f"--run_dir={tmp_path}"])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
