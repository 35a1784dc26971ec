"""Deterministic dense anticipation: class scores for every token, a single future (GTDA)."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from anticipate.models.dense_anticipator import DenseAnticipator
from anticipate.models.learning_rate import OptimizerCallable, plateau
from anticipate.models.network_settings import KeepsNetwork
from anticipate.models.own_forecasts import require_inputs
from anticipate.models.seeds import seed_of
from anticipate.nn.gtda import DeterministicGTDA
from anticipate.types import PAD_LABEL, DenseBatch, DenseForecast

__all__ = ["FrameAnticipator"]


class FrameAnticipator(KeepsNetwork, DenseAnticipator):
    """Trains a network to label every token, observed and future, and forecasts the likeliest.

    With one future Mean and Top-1 MoC are the same. The learning rate falls by half when the
    training loss of ten epochs has not fallen. What is random in a training step follows from
    (seed, step), so a resumed run repeats what an uninterrupted one would have done.

    Args:
        num_classes: Number of action classes; set from the data.
        feature_dim: Width of the features; set from the data.
        sample_rate: Frames per token; set from the data.
        obs_ratios: Observation ratios alpha to score; set from the data.
        pred_ratios: Horizons beta to score; set from the data.
        network: Network; called with num_classes and feature_dim, maps features (batch,
            observed tokens, feature_dim), observed and valid (batch, tokens) to the logits of its
            stages (stages, batch, tokens, num_classes), the last of which predict.
        optimizer: Optimizer of all parameters.
        seed: Seed of what is random in training, such as dropout.
    """

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        sample_rate: int,
        obs_ratios: Sequence[float] = (0.2, 0.3),
        pred_ratios: Sequence[float] = (0.1, 0.2, 0.3, 0.5),
        network: Callable[[int, int], nn.Module] = DeterministicGTDA,
        optimizer: OptimizerCallable = torch.optim.Adam,
        seed: int = 0,
    ) -> None:
        super().__init__(num_classes, sample_rate, obs_ratios, pred_ratios)
        self.save_hyperparameters(logger=False, ignore=["network", "optimizer"])
        self.network = network(num_classes, feature_dim)
        require_inputs(self, self.network, "features", "observed", "valid")
        self.optimizer, self.seed = optimizer, seed

    @property
    def method(self) -> str:
        """Name of the network, which is what papers call the method."""
        return getattr(self.network, "method", type(self.network).__name__)

    def on_train_batch_start(self, batch: DenseBatch, batch_idx: int) -> None:
        """Let what is random follow from the seed and the step alone."""
        torch.manual_seed(seed_of(self.seed, "train", self.global_step, self.global_rank))

    def training_step(self, batch: DenseBatch) -> Tensor:
        """Return the sum over stages of the mean cross-entropy of valid tokens."""
        stages = self.network(batch.features, batch.observed, batch.valid)
        targets = batch.targets.long().flatten()
        losses = [
            F.cross_entropy(logits.flatten(0, 1), targets, ignore_index=PAD_LABEL)
            for logits in stages
        ]
        loss = torch.stack(losses).sum()
        self.log(
            "train/loss",
            loss,
            on_step=False,
            on_epoch=True,
            sync_dist=True,
            batch_size=len(batch.targets),
        )
        return loss

    @torch.no_grad()
    def forecast(self, batch: DenseBatch) -> DenseForecast:
        """Label every frame by its token's likeliest class."""
        tokens = self.network(batch.features, batch.observed, batch.valid)[-1].argmax(dim=-1)
        return DenseForecast(tokens.repeat_interleave(self.sample_rate, dim=1).unsqueeze(0))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimizer and the plateau rule on the epoch's training loss."""
        optimizer = self.optimizer(self.network.parameters())
        return {"optimizer": optimizer, "lr_scheduler": plateau(optimizer)}
