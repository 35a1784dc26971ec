"""Dense anticipation by queries, each of which names one future segment (FUTR): one future."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from anticipate.choices import checked_choices
from anticipate.errors import ConfigError
from anticipate.models.dense_anticipator import DenseAnticipator
from anticipate.models.future_segments import segment_labels, segment_losses, segment_targets
from anticipate.models.learning_rate import OptimizerCallable, WarmUp, epoch_cosine
from anticipate.models.network_settings import KeepsNetwork
from anticipate.models.own_forecasts import require_inputs
from anticipate.models.seeds import seed_of
from anticipate.nn.futr import FUTR, FUTROutput
from anticipate.types import DenseBatch, DenseForecast

__all__ = ["QueryAnticipator"]

Decoding = Literal["corrected", "released"]


class QueryAnticipator(KeepsNetwork, DenseAnticipator):
    """Trains a network to label what is observed and to answer queries with future segments.

    What is random in a training step follows from (seed, step), so a resumed run repeats what an
    uninterrupted one would have done.

    Args:
        num_classes: Number of action classes; set from the data.
        feature_dim: Width of the features; set from the data.
        sample_rate: Frames per token; set from the data.
        obs_ratios: Observation ratios alpha to score; set from the data.
        pred_ratios: Horizons beta to score; set from the data.
        network: Network; called with num_classes and feature_dim, maps features and the mask of
            observed tokens to a `FUTROutput`.
        optimizer: Optimizer of all parameters.
        warmup_epochs: Epochs during which the learning rate rises; then it falls to 0 along a
            cosine.
        warmup: `corrected`, or `released`: the rise of the public code, whose first epoch has a
            learning rate of 0.
        decoding: `corrected`: what the lengths of the segments leave over continues the last
            action; `released`: it gets the answer of the last query, used or not, as in the public
            code.
        seed: Seed of what is random in training, such as dropout.
    """

    schedule_needs_max_epochs = True
    """The learning rate falls to 0 over all epochs: a training of another length is another one."""
    inputs: ClassVar[tuple[str, ...]] = ("features", "observed")
    """What the network is called with."""

    @checked_choices
    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        sample_rate: int,
        obs_ratios: Sequence[float] = (0.2, 0.3),
        pred_ratios: Sequence[float] = (0.1, 0.2, 0.3, 0.5),
        network: Callable[[int, int], nn.Module] = FUTR,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        warmup_epochs: int = 10,
        warmup: WarmUp = "corrected",
        decoding: Decoding = "corrected",
        seed: int = 0,
    ) -> None:
        super().__init__(num_classes, sample_rate, obs_ratios, pred_ratios)
        self.save_hyperparameters(logger=False, ignore=["network", "optimizer"])
        self.network, self.optimizer = network(num_classes, feature_dim), optimizer
        require_inputs(self, self.network, *self.inputs)
        self.warmup_epochs, self.warmup = warmup_epochs, warmup
        self.decoding, self.seed = decoding, seed

    @property
    def method(self) -> str:
        """Name of the network, which is what papers call the method."""
        return type(self.network).__name__

    def on_train_batch_start(self, batch: DenseBatch, batch_idx: int) -> None:
        """Let what is random follow from the seed and the step alone."""
        torch.manual_seed(seed_of(self.seed, "train", self.global_step, self.global_rank))

    def training_step(self, batch: DenseBatch) -> Tensor:
        """Return the sum of the losses."""
        losses = self._losses(batch)
        loss = torch.stack([*losses.values()]).sum()
        self.log_dict(
            {"train/loss": loss, **losses},
            on_step=False,
            on_epoch=True,
            sync_dist=True,
            batch_size=len(batch.obs_ratios),
        )
        return loss

    def _losses(self, batch: DenseBatch) -> dict[str, Tensor]:
        output = self._answers(batch)
        num_queries = output.actions.shape[1]
        targets = segment_targets(batch, self.sample_rate, num_queries, self.num_classes)
        return segment_losses(output, targets)

    @torch.no_grad()
    def forecast(self, batch: DenseBatch) -> DenseForecast:
        """Return the one future that the network anticipates for each video."""
        output = self._answers(batch)
        preds = segment_labels(output, batch, self.sample_rate, self.decoding == "released")
        return DenseForecast(preds.unsqueeze(0))

    def _answers(self, batch: DenseBatch) -> FUTROutput:
        output = self.network(batch.features, batch.observed)
        if not isinstance(output, FUTROutput):
            raise ConfigError(
                f"{self.method}.forward returned {type(output).__name__}: expected FUTROutput"
            )
        return output

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimizer of all parameters and the schedule of its learning rate.

        Raises:
            ConfigError: The trainer does not know the number of epochs.
        """
        optimizer = self.optimizer(self.network.parameters())
        schedule = epoch_cosine(optimizer, self.trainer, self.warmup_epochs, self.warmup)
        return {"optimizer": optimizer, "lr_scheduler": schedule}
