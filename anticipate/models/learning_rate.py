"""Learning rates that follow the steps of a training from its first to its last."""

import math

import lightning.pytorch as pl
from lightning.pytorch.utilities.types import LRSchedulerConfigType
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from anticipate.errors import ConfigError


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
    total = training_steps(trainer)
    if not math.isfinite(total) or total < 1:
        raise ConfigError(
            "the learning rate falls to 0 over the training, but its length is not known: set "
            "--trainer.max_epochs"
        )
    if warmup_steps < 0:
        raise ConfigError(f"warmup_steps is {warmup_steps}: expected 0 or more")

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        share = (step - warmup_steps) / (total - warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

    return {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}
