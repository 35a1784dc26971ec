"""Settings of strangers are read without running their code."""

import pytest

import anticipate
from anticipate.catalog import class_at
from anticipate.cli import main
from anticipate.errors import ConfigError
from anticipate.training.loading import read

CODE = """
from pathlib import Path
import anticipate

Path("ran").touch()

class Net(anticipate.MixANT):
    pass
"""


@pytest.fixture
def strange(tmp_path, monkeypatch, synthetic_file):
    """A function that reads a strange experiment in a folder with code, in safe mode."""
    monkeypatch.setenv("ANTICIPATE_SAFE", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "strange_code.py").write_text(CODE)

    def command(settings):
        (tmp_path / "e.yaml").write_text(f"{settings}\n")
        files = ["--config", "experiments/demo.yaml", "--config", "e.yaml"]
        return read([*files, f"--data.path={synthetic_file}"])

    yield command
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("model: {init_args: {denoiser: {class_path: strange_code.Net}}}", "strange_code.Net"),
        ("model: {init_args: {denoiser: strange_code.Net}}", "strange_code.Net"),
        ("trainer: {logger: {class_path: not_installed.Logger}}", "not_installed.Logger"),
        ("trainer: {logger: WandbLogger}", "WandbLogger"),
        (
            "trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.LambdaCallback}]}",
            "LambdaCallback",
        ),
    ],
)
def test_other_classes_are_refused_before_their_code_runs(strange, settings, named):
    with pytest.raises(ConfigError, match=rf"{named}: not imported in safe mode"):
        strange(settings)


def test_known_classes_are_allowed(strange):
    settings = strange(
        "trainer: {callbacks: [{class_path: LearningRateMonitor}], logger: CSVLogger}\n"
        "model: {init_args: {optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1}}}}"
    )
    assert settings["model.init_args.optimizer.class_path"] == "torch.optim.SGD"


def test_own_data_sets_and_loads_are_refused_too(strange, tmp_path):
    with pytest.raises(ConfigError, match="safe mode"):
        class_at("strange_code.Net")
    (tmp_path / "last.ckpt").touch()
    (tmp_path / "config.yaml").write_text("model: {class_path: strange_code.Net}\n")
    with pytest.raises(ConfigError, match="safe mode"):
        anticipate.load(tmp_path / "last.ckpt")


def test_the_option_switches_it_on_for_any_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ANTICIPATE_SAFE", "")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["prepare", "strange_code.Net", "--safe"])
    assert "not imported in safe mode" in capsys.readouterr().err
