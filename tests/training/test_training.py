"""The command line of training, run for real on the synthetic data set."""

import json
import os
import signal
import threading
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from anticipate.cli import main
from anticipate.datasets.file.dense_file import DenseStore
from tests.tiny import UNTESTED


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def scores(folder):
    return json.loads((folder / "metrics.json").read_text())["scores"]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_fit_leaves_config_checkpoint_and_scores(demo_run):
    config = yaml.safe_load((demo_run / "config.yaml").read_text())
    assert config["model"]["init_args"]["denoiser"]["init_args"]["d_model"] == 8
    document = json.loads((demo_run / "metrics.json").read_text())
    assert document["synthetic"] is True
    assert list(document["scores"]) == [
        "MixANT",
        "MixANT (majority)",
        "last-label (each sample)",
        "last-label (predicted labels)",
        "last-label (ground truth)",
        "tri-gram (predicted labels)",
        "tri-gram (ground truth)",
        "tri-gram (ground truth, majority)",
    ]
    assert document["scores"]["MixANT"]["0.2"]["num_samples"] == 2
    checkpoint = torch.load(demo_run / "checkpoints" / "last.ckpt", weights_only=True)
    assert "current_model_state" in checkpoint, "the weights tested are averages of these"
    assert checkpoint["averaging_state"]["n_averaged"] == 3


@pytest.mark.slow
def test_the_saved_config_repeats_the_scores_of_fit_and_predict_feeds_score(
    trained_demo, capsys, synthetic_file
):
    folder = trained_demo.folder
    after_fit = scores(folder)
    (folder / "metrics.json").unlink()
    main(["test", "--config", str(folder / "config.yaml"), "--ckpt_path=last"])
    assert "synthetic features" in capsys.readouterr().out
    assert scores(folder) == after_fit
    trained_demo("predict", "--ckpt_path=last")
    capsys.readouterr()
    predictions = str(folder / "predictions.h5")
    main(["score", "dense", predictions, "--data", str(synthetic_file), "--json"])
    rescored = json.loads(capsys.readouterr().out)
    for ratio, measures in after_fit["MixANT"].items():
        for measure in ("mean_moc", "top1_moc", "mof", "frame_diversity"):
            assert rescored[ratio][measure] == pytest.approx(measures[measure])


def most(preds, past):
    return np.array([np.bincount(votes).argmax() for votes in preds.T])[None]


def repeated(preds, past):
    return np.where(np.arange(preds.shape[1]) < past, preds, preds[:, past - 1 : past])


CHANGES = {
    "MixANT (majority)": most,
    "last-label (each sample)": repeated,
    "last-label (predicted labels)": lambda preds, past: repeated(most(preds, past), past),
}


@pytest.mark.slow
def test_rows_next_to_the_model_follow_from_its_predictions(
    trained_demo, capsys, synthetic_file, tmp_path
):
    before = contents(trained_demo.folder)
    study = (f"--ckpt_path={trained_demo.checkpoint}", "--model.num_samples=3", "--run_name=s")
    for command in ("test", "predict"):
        trained_demo(command, *study, "--data.limit_test_videos=3")
    folder = Path("runs/s/split_1/seed_0")
    assert json.loads((folder / "metrics.json").read_text())["scored_part"].startswith("3 of ")
    found = scores(folder)

    def rescored(change):
        changed = tmp_path / "changed.h5"
        with h5py.File(folder / "predictions.h5") as samples, h5py.File(changed, "w") as file:
            for video, ratios in samples.items():
                for ratio, preds in ratios.items():
                    past = int(float(ratio.removeprefix("obs_")) * store.num_frames(video))
                    file[f"{video}/{ratio}"] = change(preds[:], past)
        capsys.readouterr()
        main(["score", "dense", str(changed), "--data", str(synthetic_file), "--json"])
        return json.loads(capsys.readouterr().out)

    with DenseStore(synthetic_file) as store:
        for name, change in CHANGES.items():
            for ratio, measures in rescored(change).items():
                assert measures["mean_moc"] == pytest.approx(found[name][ratio]["mean_moc"])
    for name, measures in found.items():
        one = "majority" in name
        assert all(scored["num_samples"] == (1 if one else 3) for scored in measures.values())
    assert contents(trained_demo.folder) == before, "a study under another name is another run"


@pytest.mark.slow
def test_resuming_equals_an_uninterrupted_run(demo):
    # With what a training carries along: schedule, window of the average, usage of the experts.
    carried = ("--trainer.max_epochs=4", "--model.balancing_momentum=0.9")
    same = (*carried, "--data.limit_test_videos=2", "--dense_results.baselines=false")
    demo("fit", *same, "--run_name=a")
    demo("fit", *same, "--trainer.max_steps=6", "--run_name=b")
    demo("fit", *same, "--run_name=b", "--ckpt_path=last")
    whole, half = (Path("runs", name, "split_1", "seed_0") for name in "ab")
    assert scores(half) == scores(whole)
    first, second = weights(whole), weights(half)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_seeds_splits_and_names_get_folders_of_their_own(demo):
    demo("fit", UNTESTED, "--seed_everything=7", "--data.split=2", "--run_name=x/y")
    assert Path("runs/x/y/split_2/seed_7/checkpoints/last.ckpt").is_file()


def test_a_second_run_never_touches_the_first(trained_demo, refusal):
    before = contents(trained_demo.folder)
    message = refusal(trained_demo, "fit")
    assert "already holds a run: resume it with --ckpt_path last" in message
    assert contents(trained_demo.folder) == before


def test_validation_uses_held_out_training_videos(demo, capsys, tmp_path):
    file = tmp_path / "persons.h5"
    main(["prepare", "synthetic", "--output", str(file), "--videos=48", "--feature-dim=16"])
    data = (f"--data.path={file}", "--data.validation_fraction=0.3")
    demo("fit", *data, "--trainer.fast_dev_run=true")
    assert "24 training videos, 12 held out for validation" in capsys.readouterr().err


ANY_LENGTH = ("--model.lr_schedule=plateau", "--model.warmup_steps=0", "--model.ema_window=null")
"""What a training may change its length with."""


@contextmanager
def ctrl_c_once_there_is(path):
    """Interrupt this process, as a terminal does, as soon as a file is there."""
    ended = threading.Event()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # none in the background

    def watch():
        while not ended.wait(0.1):
            if path.exists():
                os.kill(os.getpid(), signal.SIGINT)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning ignores another one


@pytest.mark.slow
def test_ctrl_c_keeps_the_last_epoch_and_the_run_goes_on(demo, capsys):
    with pytest.raises(SystemExit) as exit_, ctrl_c_once_there_is(demo.checkpoint):
        demo("fit", *ANY_LENGTH, "--trainer.max_epochs=500")
    assert exit_.value.code == 130
    said = capsys.readouterr().err
    assert "the same command with --ckpt_path last" in said
    assert "Traceback" not in said
    assert list(demo.checkpoint.parent.iterdir()) == [demo.checkpoint]
    epochs = torch.load(demo.checkpoint, weights_only=True)["epoch"] + 2
    config = (demo.folder / "config.yaml").read_text()
    more = (f"--trainer.max_epochs={epochs}", "--data.num_workers=1")
    demo("fit", *ANY_LENGTH, "--ckpt_path=last", *more)
    assert (demo.folder / "metrics.json").is_file()
    assert (demo.folder / "config.yaml").read_text() == config
    assert yaml.safe_load(config)["trainer"]["max_epochs"] == 500
    (line,) = map(json.loads, (demo.folder / "resumes.jsonl").read_text().splitlines())
    assert line["changed"] == {"trainer.max_epochs": epochs}
    assert line["checkpoint"].endswith("last.ckpt")


MISTAKES = {
    "--trainer.max_epoch=3": "max_epoch",
    "--model.denoiser.d_modle=3": "d_modle",
    "--model.denoiser.d_model=7": "d_model must be even",
    "--model.sampler=euler": "sampler",
    "--model.num_inference_steps=2000": "num_inference_steps must lie between",
    "--data.split=9": "split",
    "--data.obs_ratios=[0.2,1.5]": "obs_ratios",
    "--data.path=nowhere.h5": "anticipate prepare synthetic --output nowhere.h5",
    "--data.obs_ratios=0.1": "expected a list, written as --data.obs_ratios '[0.1]'",
    "--model.num_samples=0": "num_samples is 0",
    "--trainer.precision=64": "trainer.precision is 64: expected one of 32-true",
    "--run_dir=/proc/nope": "/proc/nope: No such file or directory: see that it can be",
    "--seed_everything=true": "seed_everything is True: expected an integer",
    "--ckpt_path=nowhere.ckpt": "no checkpoint nowhere.ckpt",
}


@pytest.mark.parametrize("option", MISTAKES)
def test_a_mistake_is_a_readable_line_and_leaves_no_run(demo, refusal, option):
    assert MISTAKES[option] in refusal(demo, "fit", option)
    assert not Path("runs").exists()


def test_testing_needs_weights(demo, refusal):
    assert "test needs weights: add --ckpt_path" in refusal(demo, "test")


@pytest.mark.slow
def test_checkpoints_of_other_models_and_damaged_ones_are_refused(trained_demo, refusal):
    test, checkpoint = ("test", "--ckpt_path=last"), trained_demo.checkpoint
    said = refusal(trained_demo, *test, "--model.denoiser.d_state=3")
    assert "last.ckpt is of another model" in said
    said = refusal(trained_demo, *test, "--model.denoiser.num_layers=4")
    assert "lacks the tensor 'denoiser.blocks.3" in said
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert "damaged or not a checkpoint" in refusal(trained_demo, *test)
    torch.save({"weights": 1}, checkpoint)
    assert "holds no state_dict" in refusal(trained_demo, *test)


def test_validate_without_held_out_videos_says_how(trained_demo, refusal):
    assert "set validation_fraction" in refusal(trained_demo, "validate", "--ckpt_path=last")
