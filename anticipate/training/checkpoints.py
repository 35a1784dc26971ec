"""Checkpoints, looked at before a model meets them, so that a wrong one is one clear line."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, is_zipfile

import torch
from lightning.pytorch.plugins import TorchCheckpointIO
from torch import Tensor, nn

from anticipate.errors import CheckpointError


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint next to its place, flushes it, and only then puts it there.

    Lightning writes into the folder of temporary files and moves: across file systems that is a
    copy onto the last checkpoint, and whoever is killed or runs out of disk in it has none.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Save a checkpoint.

        Args:
            checkpoint: What to save.
            path: Where to.
            storage_options: Not used.

        Raises:
            CheckpointError: The disk is full or cannot be written.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        try:
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            free = shutil.disk_usage(path.parent).free
            raise CheckpointError(
                f"{path}: cannot be written, {free:,} bytes are free on its disk; the checkpoint "
                "of the previous epoch is intact: free space and continue with --ckpt_path last"
            ) from error
        finally:
            partial.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the contents of a checkpoint, tensors on the CPU; nothing but data is unpickled.

    Args:
        path: File that `anticipate fit` wrote.

    Raises:
        CheckpointError: No file, a damaged one, or not a checkpoint.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint {path}: train first with anticipate fit")
    content = read_tensors(path)
    weights = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(t, Tensor) for t in weights.values()):
        raise CheckpointError(
            f"{path} holds no state_dict of tensors, expected a checkpoint of anticipate"
        )
    return content


def read_tensors(path: Path) -> Any:
    """Return what `torch.save` wrote, tensors on the CPU; nothing but data is unpickled.

    Args:
        path: File of torch.

    Raises:
        CheckpointError: No file, a damaged one, or one with other objects than tensors and data.
    """
    if not path.is_file():
        raise CheckpointError(f"no file {path}")
    if not is_zipfile(path):
        raise CheckpointError(f"{path} is damaged or not a checkpoint: expected a file of torch")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: it holds objects other than tensors, which "
            "are never loaded, as they could run any code; use one that anticipate fit wrote"
        ) from error
    except (RuntimeError, BadZipFile, EOFError, KeyError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {reason}") from error


def load_weights(
    path: Path, content: Mapping[str, Any], module: nn.Module, prefix: str = ""
) -> None:
    """Give a model, or a part of one, the weights of a checkpoint.

    Args:
        path: The checkpoint, for messages.
        content: What it holds.
        module: Model, or part, that shall take the weights.
        prefix: What their names start with in the checkpoint, but not in the part.

    Raises:
        CheckpointError: As `check_fits` does.
    """
    weights = {name.removeprefix(prefix): w for name, w in content["state_dict"].items()}
    check_fits(path, weights, module)
    module.load_state_dict(weights)


def check_fits(path: Path, weights: Mapping[str, Tensor], model: nn.Module) -> None:
    """Compare the weights of a checkpoint with a model, tensor by tensor.

    Args:
        path: The checkpoint, for messages.
        weights: Its tensors.
        model: The model that shall take them.

    Raises:
        CheckpointError: They are those of another model.
    """
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    advice = "; use the config.yaml of its run folder"
    other = sorted(found.keys() ^ expected.keys())
    if other:
        verb = "has an unknown" if other[0] in found else "lacks the"
        raise CheckpointError(
            f"{path} is of another model: it {verb} tensor '{other[0]}' "
            f"({len(other)} names differ){advice}"
        )
    for name, shape in expected.items():
        if found[name] != shape:
            raise CheckpointError(
                f"{path} is of another model: '{name}' is {found[name]}, expected {shape}{advice}"
            )
