"""What callbacks that draw share: the data behind a figure, and where figures go."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger

from anticipate.datasets.batches.dense_module import DenseDataModule
from anticipate.errors import ConfigError
from anticipate.figures.style import pixels


def check_count(name: str, count: int) -> None:
    """Refuse a setting that counts less than one.

    Raises:
        ConfigError: A count below 1.
    """
    if count < 1:
        raise ConfigError(f"{name} is {count}: expected 1 or more")


def data_of(trainer: pl.Trainer) -> DenseDataModule:
    """Return the data of a run, which knows the names of classes.

    Raises:
        ConfigError: The trainer has other data.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, DenseDataModule):
        raise ConfigError(
            f"figures need the names of classes, but the trainer's data is {type(data).__name__}: "
            "give it a data module of anticipate.datasets, or leave the figures out"
        )
    return data


def note(data: DenseDataModule) -> str:
    """Return the caveat that figures of a run carry."""
    return "synthetic features" if data.synthetic else ""


def writers(trainer: pl.Trainer) -> list[TensorBoardLogger]:
    """Return the loggers that take pictures."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def add_figure(trainer: pl.Trainer, tag: str, figure: Any, path: Path | None = None) -> None:
    """Show a figure in TensorBoard and write it to a PNG file, if one is named."""
    image = pixels(figure, path)
    for logger in writers(trainer):
        logger.experiment.add_image(tag, image, trainer.global_step, dataformats="HWC")
