"""How far a training is, where no progress bar shows it: in logs of sweeps and of clusters."""

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from anticipate.console import notice

__all__ = ["EpochLines"]


class EpochLines(Callback):
    """Says `epoch 3/50` after each epoch of a training without progress bar."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the line, once for all processes."""
        if trainer.is_global_zero and trainer.progress_bar_callback is None:
            notice(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")
