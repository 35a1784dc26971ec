"""Checkpoints are written whole or not at all."""

import subprocess
from pathlib import Path

import pytest
import torch

from anticipate.cli import main
from anticipate.errors import CheckpointError
from anticipate.training import checkpoints
from anticipate.training.checkpoints import WholeCheckpointIO, read_checkpoint
from anticipate.training.loading import build


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (OSError(28, "No space left on device"), CheckpointError),
        (RuntimeError("unexpected pos 64 vs 0"), CheckpointError),  # torch on a full disk
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_write_that_fails_keeps_the_checkpoint_before(tmp_path, monkeypatch, failure, told):
    path = tmp_path / "checkpoints" / "last.ckpt"
    whole = {"state_dict": {"weight": torch.arange(3.0)}, "epoch": 1}
    WholeCheckpointIO().save_checkpoint(whole, path)

    def half(_: object, file) -> None:
        file.write(b"PK")
        raise failure

    monkeypatch.setattr(checkpoints.torch, "save", half)
    with pytest.raises(told):
        WholeCheckpointIO().save_checkpoint({}, path)
    assert read_checkpoint(path)["epoch"] == 1
    assert list(path.parent.iterdir()) == [path]


def test_a_rename_that_fails_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    WholeCheckpointIO().save_checkpoint({"state_dict": {}, "epoch": 1}, path)

    def fails(source: Path, target: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(CheckpointError, match="the checkpoint of the previous epoch is intact"):
        WholeCheckpointIO().save_checkpoint({"state_dict": {}, "epoch": 2}, path)
    assert read_checkpoint(path)["epoch"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path]).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        path = tmp_path / "last.ckpt"
        small, large = ({"state_dict": {"w": torch.zeros(n)}, "epoch": n} for n in (10, 10**6))
        WholeCheckpointIO().save_checkpoint(small, path)
        with pytest.raises(CheckpointError, match=r"cannot be written, .* bytes are free"):
            WholeCheckpointIO().save_checkpoint(large, path)
        assert read_checkpoint(path)["epoch"] == 10
        assert list(tmp_path.iterdir()) == [path]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_checkpoint_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    steps = []
    fsync, replace = checkpoints.os.fsync, Path.replace
    monkeypatch.setattr(checkpoints.os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd)))
    monkeypatch.setattr(Path, "replace", lambda a, b: (steps.append("replace"), replace(a, b)))
    WholeCheckpointIO().save_checkpoint({"state_dict": {}}, tmp_path / "last.ckpt")
    assert steps == ["fsync", "replace"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: {"state_dict": content["state_dict"]},
        lambda content: content | {"loops": "junk"},
    ],
)
def test_a_checkpoint_that_lightning_cannot_load_is_one_line(
    tmp_path, monkeypatch, capsys, synthetic_file, damage
):
    monkeypatch.chdir(tmp_path)
    words = ("--config=experiments/demo.yaml", f"--data.path={synthetic_file}")
    built = build(words)
    content = {"state_dict": built.model.state_dict(), "pytorch-lightning_version": "2.6.0"}
    torch.save(damage(content | {"epoch": 0, "global_step": 0}), "odd.ckpt")
    with pytest.raises(SystemExit) as exit_:
        main(["fit", *words, "--run_name=other", "--ckpt_path=odd.ckpt"])
    assert exit_.value.code == 2
    assert "lacks what Lightning needs to load it" in capsys.readouterr().err
