"""Training of RULSTM: clips that go on to the action, every step of which anticipates it."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from anticipate.datasets.batches.clips import BEFORE_VIDEO, StepGrid
from anticipate.errors import ConfigError
from anticipate.models.anticipation_loss import repeated_target_loss
from anticipate.models.learning_rate import OptimizerCallable
from anticipate.models.sequence_anticipator import SequenceAnticipator
from anticipate.nn.rulstm import RULSTM, RULSTMFusion
from anticipate.types import ShortTermBatch, ShortTermForecast, ShortTermProtocol

__all__ = ["RULSTMAnticipator"]


class RULSTMAnticipator(SequenceAnticipator):
    """Trains RULSTM at a constant learning rate; what is scored is the step at anticipation time.

    Clips of training may be longer than those that are scored (`train_until` of the data): all
    begin equally long before the action, so each knows how far its newest step is from it.

    Args:
        num_classes: Number of actions; set from the data.
        feature_dim: Width of the features; set from the data.
        protocol: What is scored, and on which rows and classes; set from the data.
        grid: Moments of the clips that are scored; set from the data.
        stream_dims: Width of each stream of features; set from the data.
        network: One branch; called with num_classes and feature_dim.
        fusion: Whether each stream has a branch of its own, and attention weighs them.
        optimizer: Optimizer of all parameters.
        encoding_steps: Steps at the beginning of a clip that no loss asks.
        seed: Seed of what is random in training, such as dropout.
    """

    network: RULSTM | RULSTMFusion
    schedule_needs_max_epochs = False

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        protocol: ShortTermProtocol,
        grid: StepGrid,
        stream_dims: Mapping[str, int],
        network: Callable[[int, int], RULSTM] = RULSTM,
        fusion: bool = False,
        optimizer: OptimizerCallable = torch.optim.SGD,
        encoding_steps: int = 6,
        seed: int = 0,
    ) -> None:
        if fusion and not stream_dims:
            raise ConfigError(
                "fusion needs streams of features, but the data file has one without a name: "
                "prepare it with --stream rgb flow obj"
            )
        if grid.steps_to_action.denominator > 1:
            raise ConfigError(
                f"anticipation_time {grid.anticipation_time} is no whole steps of {grid.step_time} "
                "s, which RULSTM counts: choose another step_time"
            )
        if not 0 <= encoding_steps < grid.num_steps:
            raise ConfigError(
                f"encoding_steps is {encoding_steps}: expected 0 or more, fewer than the "
                f"{grid.num_steps} steps of a clip"
            )

        def branches(num_classes: int, _: int) -> RULSTMFusion:
            return RULSTMFusion([network(num_classes, width) for width in stream_dims.values()])

        super().__init__(
            num_classes,
            feature_dim,
            protocol,
            class_counts=(),
            network=branches if fusion else network,
            optimizer=optimizer,
            class_weighting=False,
            seed=seed,
        )
        self.num_steps, self.encoding_steps = grid.num_steps, encoding_steps
        self.streams = tuple(stream_dims)
        self.network.steps_to_action = int(grid.steps_to_action)

    @property
    def branches(self) -> dict[str, RULSTM]:
        """The branch of each stream of a fusion; empty without."""
        own = self.network.branches if isinstance(self.network, RULSTMFusion) else ()
        return dict(zip(self.streams, own, strict=True)) if own else {}

    def loss(self, batch: ShortTermBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross-entropy of all steps after those that encode alone."""
        logits = self.network.anticipate(
            batch.features, self._steps_to_action(batch), self.network.sequence_completion
        )
        return repeated_target_loss(logits[:, self.encoding_steps :], batch.targets), {}

    def forecast(self, batch: ShortTermBatch) -> ShortTermForecast:
        """Score the action at the steps up to the anticipation time; 0 where nothing was seen."""
        logits = self.network.anticipate(batch.features, self._steps_to_action(batch))
        unseen = batch.frames[:, -1:, None] == BEFORE_VIDEO
        return ShortTermForecast(logits[:, : self.num_steps].masked_fill(unseen, 0.0))

    def configure_optimizers(self) -> Optimizer:
        """Return the optimizer, whose learning rate stays as it is."""
        return self.optimizer(self.network.parameters())

    def _steps_to_action(self, batch: ShortTermBatch) -> int:
        longer = batch.features.shape[1] - self.num_steps
        return self.network.steps_to_action - longer
