"""The use of experts, in training and in a test, as figures and as numbers."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from anticipate.figures.saved import USAGE, write_usage
from anticipate.figures.usage_figure import usage_figure
from anticipate.files import FIGURES
from anticipate.models.diffusion_anticipator import DiffusionAnticipator
from anticipate.nn.denoiser import DenoiserOutput
from anticipate.nn.mixant import expert_usage
from anticipate.training.callbacks.drawing import add_figure, check_count, data_of, note, writers

__all__ = ["ExpertUsage"]


class ExpertUsage(Callback):
    """Draws how often the routers of each mixture block choose each expert.

    In training once per epoch, for TensorBoard; in a test over all steps of all futures, into
    `figures/` of the run folder, as a picture and as JSON for reports.

    Args:
        every_n_epochs: Epochs of training from one drawing to the next; only these are counted.

    Raises:
        ConfigError: A count below 1.
    """

    def __init__(self, every_n_epochs: int = 1) -> None:
        check_count("every_n_epochs", every_n_epochs)
        self.every_n_epochs = every_n_epochs
        self._hook: RemovableHandle | None = None
        self._counts: Float[Tensor, "blocks routers experts"] | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to the denoiser in epochs that will be drawn."""
        due = (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if due and isinstance(pl_module, DiffusionAnticipator) and trainer.loggers:
            self._hook = pl_module.denoiser.register_forward_hook(self._count_training)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the figure of the epoch to TensorBoard."""
        self._stop_listening()
        usage = self._usage(trainer)
        if usage is not None and writers(trainer):
            title = f"Expert usage in training (%), epoch {trainer.current_epoch + 1}"
            figure = usage_figure(usage, title, note(data_of(trainer)))
            add_figure(trainer, "router/usage", figure)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to the denoiser of a run that has a folder."""
        if isinstance(pl_module, DiffusionAnticipator) and trainer.loggers:
            self._hook = pl_module.denoiser.register_forward_hook(self._count)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw and write what the test used."""
        self._stop_listening()
        log_dir = trainer.log_dir if trainer.loggers else None  # a broadcast: all have to ask
        usage = self._usage(trainer)
        if usage is None or log_dir is None:
            return
        folder = Path(log_dir) / FIGURES
        folder.mkdir(parents=True, exist_ok=True)
        figure = usage_figure(usage, "Expert usage in the test (%)", note(data_of(trainer)))
        write_usage(folder, usage)
        add_figure(trainer, "router/usage_test", figure, folder / f"{USAGE}.png")

    def _usage(self, trainer: pl.Trainer) -> Float[np.ndarray, "blocks routers experts"] | None:
        """Return the shares of all processes on the first one, and restart the counts."""
        counts, self._counts = self._counts, None
        counting = torch.tensor(float(counts is not None), device=trainer.strategy.root_device)
        everyone: Any = trainer.strategy.reduce(counting, reduce_op="mean")
        if counts is None or everyone < 1:  # a process without videos must not be waited for
            return None
        total: Any = trainer.strategy.reduce(counts, reduce_op="sum")
        shares: Any = (total / total.sum(dim=-1, keepdim=True)).double().cpu().numpy()
        return shares if trainer.is_global_zero else None

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave nothing behind in the denoiser when training ends early."""
        self._stop_listening()
        self._counts = None

    def _count_training(self, denoiser: nn.Module, inputs: Any, output: DenoiserOutput) -> None:
        # Without gradients runs the first pass of self-conditioning, which would count twice.
        if denoiser.training and torch.is_grad_enabled():
            self._count(denoiser, inputs, output)

    def _count(self, denoiser: nn.Module, inputs: Any, output: DenoiserOutput) -> None:
        gamma = output.gamma.detach()
        if len(gamma):
            counts = expert_usage(gamma) * gamma.shape[2]
            self._counts = counts if self._counts is None else self._counts + counts

    def _stop_listening(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
