"""The command line of training, run for real on the synthetic set of short-term actions."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from anticipate.cli import main
from anticipate.protocol.measures import named_scores
from tests.tiny import UNTESTED


def document(folder):
    return json.loads((folder / "metrics.json").read_text())


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_fit_leaves_scores_of_the_model_and_the_baselines(aga_run):
    results = document(aga_run)
    assert results["kind"] == "short_term"
    assert results["synthetic"] is True
    assert list(results["scores"]) == ["AGA", "frequency prior", "repeat last (ground truth)"]
    for scores in results["scores"].values():
        assert scores["num_scored"] == results["num_scored"] > 0
        assert {"overall", "unseen", "tail", "seen"} < set(scores)
    assert results["efficiency"]["parameters"] > 0


def test_test_repeats_the_scores_of_fit_and_says_what_was_scored(trained_aga, capsys):
    after_fit = document(trained_aga.folder)
    (trained_aga.folder / "metrics.json").unlink()
    trained_aga("test", "--ckpt_path=last")
    assert document(trained_aga.folder)["scores"] == after_fit["scores"]
    said = capsys.readouterr()
    scored = f"{after_fit['num_scored']} of "
    assert scored in said.out
    assert "synthetic features" in said.out
    assert scored in said.err
    assert "start too early" in said.err
    trained_aga("test", "--ckpt_path=last", "--data.short_past=pad")
    assert after_fit["num_scored"] < document(trained_aga.folder)["num_scored"]
    assert "all " in capsys.readouterr().err


def test_predict_feeds_score(trained_aga, capsys, actions_file):
    after_fit = document(trained_aga.folder)["scores"]
    trained_aga("predict", "--ckpt_path=last")
    predictions = trained_aga.folder / "predictions.h5"
    with h5py.File(predictions) as file:
        assert np.asarray(file["action"]).shape == (after_fit["AGA"]["num_scored"], 44)
        assert file.attrs["dataset"] == "synthetic_actions"
    capsys.readouterr()
    command = ["score", "short-term", str(predictions), "--data", str(actions_file)]
    main([*command, "--missing=drop", "--json"])
    rescored = json.loads(capsys.readouterr().out)
    num_missing = rescored.pop("num_missing")
    assert num_missing > 0
    assert rescored.pop("num_scored") == after_fit["AGA"]["num_scored"]
    assert named_scores(rescored) == pytest.approx(named_scores(after_fit["AGA"]))


@pytest.mark.slow
def test_resuming_equals_an_uninterrupted_run(aga_demo):
    # A training that ends early has the same cosine only when it is told the same length.
    four = "--trainer.max_epochs=4"
    aga_demo("fit", four, "--run_name=whole")
    aga_demo("fit", four, "--trainer.max_steps=6", "--run_name=parts")
    aga_demo("fit", four, "--ckpt_path=last", "--run_name=parts")
    whole, parts = (Path("runs", name, "split_1", "seed_0") for name in ("whole", "parts"))
    first, second = weights(whole), weights(parts)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert document(parts)["scores"] == document(whole)["scores"]


def test_variants_are_one_option_away(aga_demo):
    variant = ("--model.network.attention=visual", "--model.network.gate=none")
    aga_demo("fit", UNTESTED, *variant)
    config = yaml.safe_load((aga_demo.folder / "config.yaml").read_text())
    network = config["model"]["init_args"]["network"]
    assert network["init_args"]["attention"] == "visual"
    assert network["init_args"]["gate"] == "none"
    assert "network.guidance" not in "".join(weights(aga_demo.folder))


MISTAKES = {
    "--model.network.hidden_dim=7": "hidden_dim",
    "--model.network.query=mean": "query",
    "--data.anticipation_time=0": "anticipation_time is 0.0: expected seconds > 0",
    "--data.path=nowhere.h5": "anticipate prepare synthetic_actions --output nowhere.h5",
    "--data.evaluate_on=test": "anticipate export challenge",
    "--trainer.max_epochs=-1": "set --trainer.max_epochs",
}


@pytest.mark.parametrize("option", MISTAKES)
def test_a_mistake_is_a_readable_line(aga_demo, refusal, option):
    assert MISTAKES[option] in refusal(aga_demo, "fit", option)


@pytest.mark.parametrize(
    ("experiment", "data", "message"),
    [
        ("demo", "SyntheticActions", "SyntheticActions is a data set for short-term anticipation"),
        ("aga_demo", "Synthetic", "Synthetic is a data set for dense anticipation"),
    ],
)
def test_models_and_data_of_different_tasks_are_told_apart(refusal, experiment, data, message):
    config = ["--config", f"experiments/{experiment}.yaml"]
    assert message in refusal(main, ["fit", *config, "--data", data, "--data.path=x.h5"])
