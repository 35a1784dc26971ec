"""Exponential moving average of the weights with the warm-up of GTDA and MANTA."""

from typing import Any

from jaxtyping import Float
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class WarmUpEMA(WeightAveraging):
    """Averages the weights, slowly at first; tests and `state_dict` of checkpoints use the average.

    Until `update_after` optimizer steps the average is a copy. Then, every `update_every` steps s,
    its decay is min(beta, 1 - (s - update_after)^-power): 0.785 at step 110, 0.9935 at 2000, 0.995
    from 2930 on with the defaults.

    Args:
        beta: Largest decay.
        update_every: Steps between updates after the warm-up.
        update_after: Steps during which the average is a copy.
        power: Speed of the warm-up.
    """

    def __init__(
        self,
        beta: float = 0.995,
        update_every: int = 10,
        update_after: int = 100,
        power: float = 2 / 3,
    ) -> None:
        super().__init__(use_buffers=False, avg_fn=self._average)
        self.beta, self.power = beta, power
        self.update_every, self.update_after = update_every, update_after

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

    def _average(
        self, averaged: Float[Tensor, "*shape"], current: Float[Tensor, "*shape"], num_averaged: Any
    ) -> Float[Tensor, "*shape"]:
        # The step follows from the number of updates, which the checkpoint keeps.
        updates = int(num_averaged) + 1
        late = updates - self.update_after
        first = (self.update_after // self.update_every) * self.update_every
        step = updates if late <= 0 else first + late * self.update_every
        return current.lerp(averaged, self.decay(step))
