"""Exponential moving average of the weights with the warm-up of GTDA and MANTA."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from anticipate.models.learning_rate import training_steps


class WarmUpEMA(WeightAveraging):
    """Averages the weights, slowly at first; tests and `state_dict` of checkpoints use the average.

    Until `update_after` optimizer steps the average is a copy. Then, every `update_every` steps s,
    its decay is min(beta, 1 - (s - update_after)^-power): 0.785 at step 110, 0.9935 at 2000, 0.995
    from 2930 on with the defaults. The window of a decay beta is update_every / (1 - beta) steps,
    2000 with the defaults: longer than a short training, whose average then lags far behind.

    Args:
        beta: Largest decay.
        window: Largest window as a share of all steps of the training, in place of beta.
        update_every: Steps between updates after the warm-up.
        update_after: Steps during which the average is a copy.
        power: Speed of the warm-up.
    """

    def __init__(
        self,
        beta: float = 0.995,
        window: float | None = None,
        update_every: int = 10,
        update_after: int = 100,
        power: float = 2 / 3,
    ) -> None:
        super().__init__(use_buffers=False)
        self.beta, self.window, self.power = beta, window, power
        self.update_every, self.update_after = update_every, update_after

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Turn the window into a decay, now that the length of the training is known."""
        if self.window is not None:
            window = max(self.window * training_steps(trainer), self.update_every)
            self.beta = 1 - self.update_every / window

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return whether the zero-based step ends with an update."""
        if step_idx is None:
            return False
        step = step_idx + 1
        return step <= self.update_after or step % self.update_every == 0

    def decay(self, step: int) -> float:
        """Return the weight of the old average after `step` optimizer steps."""
        since = step - self.update_after
        return 0.0 if since <= 0 else min(self.beta, 1 - since**-self.power)

    @torch.no_grad()
    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Update the average; the step tells the decay, so that no device has to be waited for."""
        step = trainer.global_step
        if step > self._latest_update_step and self.should_update(step - 1):
            assert self._average_model is not None
            averaged, current = (
                [*map(Tensor.detach, model.parameters())]
                for model in (self._average_model.module, pl_module)
            )
            torch._foreach_lerp_(averaged, current, 1 - self.decay(step))
            self._average_model.n_averaged += 1
            self._latest_update_step = step
