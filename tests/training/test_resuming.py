"""A training goes on with the settings that it was started with, and its config.yaml stays."""

import json
from pathlib import Path

import lightning.pytorch  # noqa: F401  its log handler must meet the stderr of the session, not of one test
import pytest
import yaml

from anticipate.cli import main

COMMON = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")
TINY = {
    "demo": (
        *("--model.denoiser.d_model=8", "--model.denoiser.num_layers=2", "--model.num_samples=2"),
        *("--model.denoiser.num_static_layers=1", "--model.num_inference_steps=2"),
        *("--data.limit_test_videos=2", "--dense_results.baselines=false"),
        "--trainer.limit_train_batches=1",
    ),
    "aga_demo": (
        *("--model.network.hidden_dim=8", "--model.network.num_heads=2"),
        *("--data.limit_test_rows=20", "--data.limit_train_rows=40"),
    ),
}


@pytest.fixture
def fit(tmp_path, monkeypatch, synthetic_file, actions_file, capsys):
    """Train in an empty folder; returns what was said, or the message of a refusal."""
    monkeypatch.chdir(tmp_path)
    files = {"demo": synthetic_file, "aga_demo": actions_file}

    def command(*options, name="demo"):
        words = ["--config", f"experiments/{name}.yaml", f"--data.path={files[name]}"]
        capsys.readouterr()
        try:
            main(["fit", *words, *COMMON, *TINY[name], *options])
            code = 0
        except SystemExit as end:
            code = end.code
        assert code in (0, 2)
        return " ".join(capsys.readouterr().err.split()) if code else ""

    return command


FOLDER = Path("runs/demo/split_1/seed_0")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "--model.optimizer.lr=1e-5",
            "model.init_args.optimizer.init_args.lr was 0.005, now 1e-05",
        ),
        ("--model.denoiser.selection=soft", "selection was straight_through, now soft"),
    ],
)
def test_changed_settings_are_refused_and_nothing_is_written(fit, option, message):
    fit("--trainer.max_epochs=1")
    before = {path: path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()}
    said = fit("--trainer.max_epochs=2", "--ckpt_path=last", option)
    assert message in said
    assert "a training continues with the settings of runs/demo/split_1/seed_0/config.yaml" in said
    assert {path: path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_what_may_change_is_noted_and_the_settings_stay(fit):
    rule = ("--model.lr_schedule=plateau", "--model.warmup_steps=0", "--model.ema_window=null")
    fit("--trainer.max_epochs=1", *rule)
    config = (FOLDER / "config.yaml").read_text()
    assert fit("--trainer.max_epochs=2", "--ckpt_path=last", "--data.num_workers=1", *rule) == ""
    assert (FOLDER / "config.yaml").read_text() == config
    assert yaml.safe_load(config)["trainer"]["max_epochs"] == 1
    (line,) = map(json.loads, (FOLDER / "resumes.jsonl").read_text().splitlines())
    assert line["changed"] == {"data.init_args.num_workers": 1, "trainer.max_epochs": 2}
    assert line["checkpoint"].endswith("last.ckpt")


def test_a_schedule_over_all_epochs_keeps_their_number(fit):
    fit("--trainer.max_epochs=1", name="aga_demo")
    said = fit("--trainer.max_epochs=2", "--ckpt_path=last", name="aga_demo")
    assert "trainer.max_epochs was 1, now 2" in said


@pytest.mark.slow
def test_a_new_run_from_a_finished_training_has_nothing_to_train(fit):
    fit("--trainer.max_epochs=1")
    ckpt = f"--ckpt_path={FOLDER / 'checkpoints' / 'last.ckpt'}"
    said = fit("--trainer.max_epochs=1", ckpt, "--run_name=more")
    assert "has trained 1 epochs and trainer.max_epochs is 1" in said
    assert not Path("runs/more").exists()


def test_another_run_may_not_go_on_with_other_settings_either(fit):
    fit("--trainer.max_epochs=1")
    ckpt = f"--ckpt_path={FOLDER / 'checkpoints' / 'last.ckpt'}"
    said = fit("--trainer.max_epochs=2", ckpt, "--run_name=more", "--model.optimizer.lr=1e-5")
    assert "lr was 0.005, now 1e-05" in said
    assert not Path("runs/more").exists()
