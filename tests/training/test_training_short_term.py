"""The command line of training, run for real on the synthetic set of short-term actions."""

import json
from pathlib import Path

import h5py
import lightning.pytorch  # noqa: F401  its log handler must meet the stderr of the session, not of one test
import numpy as np
import pytest
import torch
import yaml

from anticipate.cli import main
from anticipate.protocol.measures import named_scores

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
TINY = [
    "--model.network.hidden_dim=8",
    "--model.network.num_heads=2",
    "--data.num_steps=4",
    "--data.batch_size=8",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=3",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]


@pytest.fixture
def run(tmp_path, monkeypatch, actions_file):
    """Run a command on tiny settings in an empty folder; returns the run's folder."""
    monkeypatch.chdir(tmp_path)

    def command(name, *options, run_name="aga_demo"):
        config = ["--config", str(EXPERIMENTS / "aga_demo.yaml"), f"--run_name={run_name}"]
        main([name, *config, f"--data.path={actions_file}", *TINY, *options])
        return tmp_path / "runs" / run_name / "split_1" / "seed_0"

    return command


def document(folder):
    return json.loads((folder / "metrics.json").read_text())


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_fit_leaves_scores_of_the_model_and_the_baselines_and_says_what_was_scored(run, capsys):
    folder = run("fit")
    results = document(folder)
    assert results["kind"] == "short_term"
    assert results["synthetic"] is True
    assert list(results["scores"]) == ["AGA", "frequency prior", "repeat last (ground truth)"]
    for scores in results["scores"].values():
        assert scores["num_scored"] == results["num_scored"] > 0
        assert {"overall", "unseen", "tail", "seen"} < set(scores)
    assert results["efficiency"]["parameters"] > 0
    said = capsys.readouterr()
    scored = results["num_scored"]
    assert f"{scored} of " in said.out
    assert "synthetic features" in said.out
    assert f"{scored} of " in said.err
    assert "start too early" in said.err


def test_padding_scores_every_row(run, capsys):
    dropping, padding = run("fit"), run("fit", "--data.short_past=pad", run_name="padded")
    assert document(dropping)["num_scored"] < document(padding)["num_scored"]
    assert "all " in capsys.readouterr().err


def test_test_repeats_the_scores_of_fit_and_predict_feeds_score(run, capsys, actions_file):
    folder = run("fit")
    after_fit = document(folder)["scores"]
    (folder / "metrics.json").unlink()
    run("test", "--ckpt_path=last")
    assert document(folder)["scores"] == after_fit
    run("predict", "--ckpt_path=last")
    with h5py.File(folder / "predictions.h5") as file:
        assert np.asarray(file["action"]).shape == (after_fit["AGA"]["num_scored"], 44)
        assert file.attrs["dataset"] == "synthetic_actions"
    capsys.readouterr()
    command = ["score", "short-term", str(folder / "predictions.h5"), "--data", str(actions_file)]
    main([*command, "--missing=drop", "--json"])
    rescored = json.loads(capsys.readouterr().out)
    num_missing = rescored.pop("num_missing")
    assert num_missing > 0
    assert rescored.pop("num_scored") == after_fit["AGA"]["num_scored"]
    assert named_scores(rescored) == pytest.approx(named_scores(after_fit["AGA"]))


def test_resuming_equals_an_uninterrupted_run(run):
    whole = run("fit", "--trainer.max_epochs=4", run_name="whole")
    # A training that ends early has the same cosine only when it is told the same length.
    half = ["--trainer.max_epochs=4", "--trainer.max_steps=6"]
    parts = run("fit", *half, run_name="parts")
    run("fit", "--trainer.max_epochs=4", "--ckpt_path=last", run_name="parts")
    first, second = weights(whole), weights(parts)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert document(parts)["scores"] == document(whole)["scores"]


def test_variants_are_one_option_away(run):
    folder = run("fit", "--model.network.attention=visual", "--model.network.gate=none")
    network = yaml.safe_load((folder / "config.yaml").read_text())["model"]["init_args"]["network"]
    assert network["init_args"]["attention"] == "visual"
    assert network["init_args"]["gate"] == "none"
    assert "network.guidance" not in "".join(weights(folder))


MISTAKES = {
    "--model.network.hidden_dim=7": "hidden_dim",
    "--model.network.query=mean": "query",
    "--data.anticipation_time=0": "anticipation_time is 0.0: expected seconds > 0",
    "--data.path=nowhere.h5": "anticipate prepare synthetic_actions --output nowhere.h5",
    "--data.evaluate_on=test": "anticipate export challenge",
    "--trainer.max_epochs=-1": "set --trainer.max_epochs",
}


@pytest.mark.parametrize("option", MISTAKES)
def test_a_mistake_is_a_readable_line(run, capsys, tmp_path, option):
    with pytest.raises(SystemExit) as exit_:
        run("fit", option)
    said = capsys.readouterr().err
    assert exit_.value.code == 2
    assert MISTAKES[option] in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("experiment", "data", "message"),
    [
        ("demo", "SyntheticActions", "SyntheticActions is a data set for short-term anticipation"),
        ("aga_demo", "Synthetic", "Synthetic is a data set for dense anticipation"),
    ],
)
def test_models_and_data_of_different_tasks_are_told_apart(
    capsys, tmp_path, monkeypatch, experiment, data, message
):
    monkeypatch.chdir(tmp_path)
    config = ["--config", str(EXPERIMENTS / f"{experiment}.yaml")]
    with pytest.raises(SystemExit) as exit_:
        main(["fit", *config, "--data", data, "--data.path=x.h5"])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
