"""Learning rates that follow the steps or epochs of a training from its first to its last."""

import math
from collections.abc import Callable, Iterable
from typing import Literal

import lightning.pytorch as pl
from lightning.pytorch.utilities.types import LRSchedulerConfigType
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from anticipate.errors import ConfigError

WarmUp = Literal["corrected", "released"]

UNKNOWN_LENGTH = (
    "the learning rate falls to 0 over the training, but its length is not known: set "
    "--trainer.max_epochs"
)

OptimizerCallable = Callable[[Iterable], Optimizer]
"""Makes an optimizer of parameters. Lightning has it too, where jsonargparse is installed."""


def training_steps(trainer: pl.Trainer) -> int | float:
    """Return the optimizer steps of a training; infinite where its length is not known.

    Where the number of epochs is known it counts, also for a training that `max_steps` ends early:
    the rest, resumed, then is what it would have been.
    """
    steps = trainer.estimated_stepping_batches  # loads the data where nobody has
    epochs = trainer.max_epochs
    if epochs is None or epochs < 1:
        return steps
    return epochs * math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)


def cosine(optimizer: Optimizer, trainer: pl.Trainer, warmup_steps: int) -> LRSchedulerConfigType:
    """Return a schedule that rises linearly for some steps and falls to 0 along half a cosine.

    Args:
        optimizer: Its learning rates are the largest ones.
        trainer: Knows how many steps the training has.
        warmup_steps: Steps of the rise; 0 for none. A shorter training only rises.

    Raises:
        ConfigError: The length of the training is not known, or the rise is negative.
    """
    total = _known_steps(trainer)
    if warmup_steps < 0:
        raise ConfigError(f"warmup_steps is {warmup_steps}: expected 0 or more")

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        share = (step - warmup_steps) / (total - warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

    return {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}


def epoch_factor(epoch: int, num_epochs: int, warmup_epochs: int, warmup: WarmUp) -> float:
    """Return the learning rate of an epoch as a share of the largest one (FUTR's public code).

    It rises for some epochs and falls to 0 along half a cosine. The public code starts the rise at
    0, so that its first epoch changes nothing; `corrected` starts one step higher.

    Args:
        epoch: Number of finished epochs.
        num_epochs: Epochs of the training.
        warmup_epochs: Epochs of the rise; 0 for none.
        warmup: `corrected`, (e + 1) / warmup_epochs, or `released`, e / (warmup_epochs - 1).

    >>> [epoch_factor(epoch, 30, 10, "corrected") for epoch in (0, 9, 10, 20, 30)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    >>> [epoch_factor(epoch, 30, 10, "released") for epoch in (0, 9)]
    [0.0, 1.0]
    """
    if epoch < warmup_epochs:
        late = warmup == "released"
        return (epoch + 1 - late) / max(warmup_epochs - late, 1)
    share = (epoch - warmup_epochs) / max(num_epochs - warmup_epochs, 1)
    return 0.5 * (1 + math.cos(math.pi * share))


def epoch_cosine(
    optimizer: Optimizer, trainer: pl.Trainer, warmup_epochs: int, warmup: WarmUp
) -> LRSchedulerConfigType:
    """Return the schedule of `epoch_factor`, which changes between epochs alone.

    Raises:
        ConfigError: The number of epochs is not known, or that of the rise is negative.
    """
    epochs = trainer.max_epochs
    if epochs is None or epochs < 1:
        raise ConfigError(UNKNOWN_LENGTH)
    if warmup_epochs < 0:
        raise ConfigError(f"warmup_epochs is {warmup_epochs}: expected 0 or more")

    def factor(epoch: int) -> float:
        return epoch_factor(epoch, epochs, warmup_epochs, warmup)

    return {"scheduler": LambdaLR(optimizer, factor), "interval": "epoch"}


def cosine_times_rise(
    optimizer: Optimizer, trainer: pl.Trainer, warmup_epochs: int, start: float
) -> LRSchedulerConfigType:
    """Return half a cosine over all steps, times a linear rise over some epochs (TeSTra).

    Args:
        optimizer: Its learning rates are the largest ones.
        trainer: Knows how many steps the training has.
        warmup_epochs: Epochs of the rise; 0 for none.
        start: Factor of the rise at the first step.

    Raises:
        ConfigError: The length of the training is not known, or the rise is out of range.
    """
    total = _known_steps(trainer)
    if warmup_epochs < 0 or not 0 <= start <= 1:
        raise ConfigError(
            f"warmup_epochs is {warmup_epochs}, warmup_start {start}: expected 0 or more, 0 to 1"
        )
    rise = total * warmup_epochs / trainer.max_epochs if trainer.max_epochs else 0

    def factor(step: int) -> float:
        risen = min(1.0, step / rise) if rise else 1.0
        return (start + (1 - start) * risen) * 0.5 * (1 + math.cos(math.pi * min(1, step / total)))

    return {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}


def _known_steps(trainer: pl.Trainer) -> int | float:
    total = training_steps(trainer)
    if not math.isfinite(total) or total < 1:
        raise ConfigError(UNKNOWN_LENGTH)
    return total


def plateau(optimizer: Optimizer, factor: float = 0.5, patience: int = 10) -> LRSchedulerConfigType:
    """Return a schedule that falls when the training loss of an epoch stops falling.

    Args:
        optimizer: Its learning rates are those of the start.
        factor: What they are multiplied by.
        patience: Epochs without progress before that.
    """
    schedule = ReduceLROnPlateau(optimizer, factor=factor, patience=patience)
    return {"scheduler": schedule, "monitor": "train/loss", "interval": "epoch"}
