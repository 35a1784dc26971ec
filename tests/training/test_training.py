"""The command line of training, run for real on the synthetic data set."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import lightning.pytorch  # noqa: F401  its log handler must meet the stderr of the session, not of one test
import numpy as np
import pytest
import torch
import yaml

from anticipate.cli import main
from anticipate.datasets.file.dense_file import DenseStore

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
TINY = [
    "--model.denoiser.d_model=8",
    "--model.denoiser.num_layers=2",
    "--model.denoiser.num_static_layers=1",
    "--model.denoiser.d_state=2",
    "--model.num_samples=2",
    "--model.num_inference_steps=2",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.limit_train_batches=3",
    "--data.limit_test_videos=3",
]


@pytest.fixture
def run(tmp_path, monkeypatch, synthetic_file):
    """Run a command on tiny settings in an empty folder; returns the run's folder."""
    monkeypatch.chdir(tmp_path)

    def command(name, *options, experiment="demo", folder="runs/demo/split_1/seed_0"):
        config = ["--config", str(EXPERIMENTS / f"{experiment}.yaml")]
        main([name, *config, f"--data.path={synthetic_file}", *TINY, *options])
        return tmp_path / folder

    return command


@pytest.fixture
def fails(capsys):
    """Run something that must exit with code 2, and return what it said in its last lines."""

    def attempt(function, *arguments, **settings):
        with pytest.raises(SystemExit) as exit_:
            function(*arguments, **settings)
        captured = capsys.readouterr()
        assert exit_.value.code == 2
        assert "Traceback" not in captured.err
        return captured.err[captured.err.rindex("anticipate: ") :]

    return attempt


def weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def scores(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_fit_leaves_config_checkpoint_scores_and_says_synthetic(run, capsys):
    folder = run("fit", "--trainer.max_epochs=1")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model"]["init_args"]["denoiser"]["init_args"]["d_model"] == 8
    document = scores(folder)
    assert document["synthetic"] is True
    assert document["scored_part"].startswith("3 of ")
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
    assert "synthetic features" in capsys.readouterr().out


@pytest.mark.slow
def test_test_repeats_the_scores_of_fit_and_predict_feeds_score(run, capsys, synthetic_file):
    folder = run("fit", "--trainer.max_epochs=1")
    after_fit = scores(folder)["scores"]
    (folder / "metrics.json").unlink()
    run("test", "--ckpt_path=last")
    assert scores(folder)["scores"] == after_fit
    run("predict", "--ckpt_path=last")
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
def test_rows_next_to_the_model_follow_from_its_predictions(run, capsys, synthetic_file, tmp_path):
    folder = run("fit", "--trainer.max_epochs=1", "--model.num_samples=3")
    found = scores(folder)["scores"]
    run("predict", "--ckpt_path=last", "--model.num_samples=3")

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


@pytest.mark.slow
def test_the_saved_config_alone_repeats_a_test(run, monkeypatch):
    folder = run("fit", "--trainer.max_epochs=1")
    before = scores(folder)["scores"]
    main(["test", "--config", str(folder / "config.yaml"), "--ckpt_path=last"])
    assert scores(folder)["scores"] == before


@pytest.mark.slow
def test_resuming_equals_an_uninterrupted_run(run):
    # With what a training carries along: schedule, window of the average, usage of the experts.
    same = ("--trainer.max_epochs=4", "--model.balancing_momentum=0.9")
    whole = run("fit", *same, "--run_name=a", folder="runs/a/split_1/seed_0")
    half = ("--trainer.max_steps=6", "--run_name=b")
    half = run("fit", *same, *half, folder="runs/b/split_1/seed_0")
    run("fit", *same, "--run_name=b", "--ckpt_path=last")
    assert scores(half)["scores"] == scores(whole)["scores"]
    first, second = weights(whole), weights(half)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_tested_weights_are_the_averaged_ones(run):
    folder = run("fit", "--trainer.max_epochs=1", "--model.ema_decay=0.5")
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert "current_model_state" in checkpoint
    assert checkpoint["averaging_state"]["n_averaged"] == 3


def test_seeds_splits_and_names_get_folders_of_their_own(run, tmp_path):
    run("fit", "--trainer.max_epochs=1", "--seed_everything=7", "--data.split=2", "--run_name=x/y")
    assert (tmp_path / "runs/x/y/split_2/seed_7/checkpoints/last.ckpt").is_file()


def test_a_second_run_never_touches_the_first(run, fails):
    folder = run("fit", "--trainer.max_epochs=1")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    message = fails(run, "fit", "--trainer.max_epochs=1")
    assert "already holds a run: resume it with --ckpt_path last" in message
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()} == before


@pytest.mark.slow
def test_settings_come_from_the_command_line_not_from_the_checkpoint(run):
    folder = run("fit", "--trainer.max_epochs=1")
    run("test", "--ckpt_path=last", "--model.num_samples=5")
    assert scores(folder)["scores"]["MixANT"]["0.2"]["num_samples"] == 5


@pytest.mark.slow
def test_a_study_under_another_name_leaves_the_run_as_it_was(run):
    folder = run("fit", "--trainer.max_epochs=1")
    before = scores(folder)
    checkpoint = f"--ckpt_path={folder / 'checkpoints' / 'last.ckpt'}"
    study = run(
        "test", checkpoint, "--model.num_samples=3", "--run_name=s", folder="runs/s/split_1/seed_0"
    )
    assert scores(study)["scores"]["MixANT"]["0.2"]["num_samples"] == 3
    assert scores(folder) == before


@pytest.mark.slow
def test_validation_uses_held_out_training_videos(run, capsys, tmp_path):
    file = tmp_path / "persons.h5"
    main(["prepare", "synthetic", "--output", str(file), "--videos=48", "--feature-dim=16"])
    run("fit", f"--data.path={file}", "--trainer.max_epochs=1", "--data.validation_fraction=0.3")
    assert "24 training videos, 12 held out for validation" in capsys.readouterr().err


ANY_LENGTH = ("--model.lr_schedule=plateau", "--model.warmup_steps=0", "--model.ema_window=null")
"""What a training may change its length with."""


@pytest.fixture
def endless_fit(tmp_path, synthetic_file):
    """A training in a process of its own, killed in the end whatever happens."""
    options = [f"--data.path={synthetic_file}", *TINY, *ANY_LENGTH, "--trainer.max_epochs=10000"]
    config = ["--config", str(EXPERIMENTS / "demo.yaml")]
    process = subprocess.Popen(
        [sys.executable, "-m", "anticipate", "fit", *config, *options],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # A shell's background jobs inherit an ignored SIGINT, which Python then leaves ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    yield process
    process.kill()


@pytest.mark.slow
def test_ctrl_c_keeps_the_last_epoch_and_the_run_goes_on(run, tmp_path, endless_fit):
    checkpoints = tmp_path / "runs/demo/split_1/seed_0/checkpoints"
    deadline = time.monotonic() + 120
    while not (checkpoints / "last.ckpt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    endless_fit.send_signal(signal.SIGINT)
    _, said = endless_fit.communicate(timeout=60)
    assert endless_fit.returncode == 130
    assert "the same command with --ckpt_path last" in said
    assert "Traceback" not in said
    assert [path.name for path in checkpoints.iterdir()] == ["last.ckpt"]
    epoch = torch.load(checkpoints / "last.ckpt", weights_only=True)["epoch"]
    folder = run("fit", *ANY_LENGTH, "--ckpt_path=last", f"--trainer.max_epochs={epoch + 2}")
    assert (folder / "metrics.json").is_file()


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
def test_a_mistake_is_a_readable_line_and_leaves_no_run(run, fails, tmp_path, option):
    assert MISTAKES[option] in fails(run, "fit", "--trainer.max_epochs=1", option)
    assert not (tmp_path / "runs").exists()


def test_testing_needs_weights(run, fails):
    assert "test needs weights: add --ckpt_path" in fails(run, "test")


def test_checkpoints_of_other_models_and_damaged_ones_are_refused(run, fails, tmp_path):
    folder = run("fit", "--trainer.max_epochs=1")
    other = ["--ckpt_path=last", "--model.denoiser.d_state=3"]
    assert "last.ckpt is of another model" in fails(run, "test", *other)
    deeper = ["--ckpt_path=last", "--model.denoiser.num_layers=3"]
    assert "lacks the tensor 'denoiser.blocks.2" in fails(run, "test", *deeper)
    checkpoint = folder / "checkpoints" / "last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert "damaged or not a checkpoint" in fails(run, "test", "--ckpt_path=last")
    torch.save({"weights": 1}, checkpoint)
    assert "holds no state_dict" in fails(run, "test", "--ckpt_path=last")


def test_validate_without_held_out_videos_says_how(run, fails):
    run("fit", "--trainer.max_epochs=1")
    assert "set validation_fraction" in fails(run, "validate", "--ckpt_path=last")
