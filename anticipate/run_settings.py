"""A run from its checkpoint alone: the settings stored beside it make its model and data again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule

from anticipate.checkpoints import load_weights
from anticipate.errors import CheckpointError
from anticipate.training import AnticipateCLI, command_line


def load_run(
    ckpt: Path, data: Path | None = None, settings: Sequence[str] = ()
) -> tuple[LightningModule, LightningDataModule]:
    """Return the model of a checkpoint, ready for evaluation on the CPU, and its data.

    Args:
        ckpt: Checkpoint in a run folder, or with a `config.yaml` beside it.
        data: Data file to read instead of the one named in the settings.
        settings: More settings, as on the command line; they replace those of the run.

    Raises:
        CheckpointError: No checkpoint, a damaged one, or none of its settings.
        AnticipateError: Settings or data that cannot be used.
    """
    if not ckpt.is_file():
        raise CheckpointError(f"no checkpoint {ckpt}: train first with anticipate fit")
    file = [] if data is None else [f"--data.path={data}"]
    run = command_line(_Builder, ["test", "--config", str(settings_file(ckpt)), *file, *settings])
    load_weights(ckpt, run.model)
    return run.model.eval(), run.datamodule


def settings_file(ckpt: Path) -> Path:
    """Return the configuration of the run that a checkpoint belongs to.

    Args:
        ckpt: `<run>/checkpoints/last.ckpt`, or a checkpoint with a `config.yaml` beside it.

    Raises:
        CheckpointError: Neither folder holds a `config.yaml`.
    """
    places = [folder / "config.yaml" for folder in (ckpt.parent, ckpt.parent.parent)]
    for place in places:
        if place.is_file():
            return place
    raise CheckpointError(
        f"the settings of {ckpt} are missing: expected {places[1]} or {places[0]}; "
        "keep a checkpoint in the folder of its run"
    )


class _Builder(AnticipateCLI):
    """Builds what a command would run, and runs nothing."""

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        return None  # one for the machine of the training might refuse this one

    def _run_subcommand(self, subcommand: str) -> None:
        pass
