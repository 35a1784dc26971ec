"""Training of AVT-h: it also predicts features, and what the frames of the clip show."""

from collections.abc import Callable

import torch
from torch import Tensor

from anticipate.choices import checked_choices
from anticipate.models.anticipation_loss import Reduction, avt_losses
from anticipate.models.learning_rate import OptimizerCallable
from anticipate.models.sequence_anticipator import SequenceAnticipator
from anticipate.nn.avt import AVT
from anticipate.types import PAD_LABEL, ShortTermBatch, ShortTermProtocol

__all__ = ["AVTAnticipator"]


class AVTAnticipator(SequenceAnticipator):
    """Trains AVT-h on actions and features; scores, schedule and seeds are SequenceAnticipator's.

    Logged besides the loss: its terms `train/final`, `train/features` and `train/past`, unweighted.

    Args:
        num_classes: Number of actions; set from the data.
        feature_dim: Width of the features; set from the data.
        protocol: What is scored, and on which rows and classes; set from the data.
        network: AVT; called with num_classes and feature_dim.
        optimizer: Optimizer of all parameters.
        warmup_steps: Steps during which the learning rate rises.
        loss_reduction: `released` (as the public code: frames without a label count as zeros in the
            mean) or `mean` (over labelled frames).
        feature_weight: Weight of the error of predicted features.
        past_weight: Weight of the cross-entropy of what the frames of the clip show.
        seed: Seed of what is random in training, such as dropout.
    """

    network: AVT

    @checked_choices
    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        protocol: ShortTermProtocol,
        network: Callable[[int, int], AVT] = AVT,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        warmup_steps: int = 0,
        loss_reduction: Reduction = "released",
        feature_weight: float = 1.0,
        past_weight: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            num_classes,
            feature_dim,
            protocol,
            class_counts=(),
            network=network,
            optimizer=optimizer,
            warmup_steps=warmup_steps,
            loss_reduction=loss_reduction,
            class_weighting=False,
            seed=seed,
        )
        self.feature_weight, self.past_weight = feature_weight, past_weight

    def loss(self, batch: ShortTermBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of the three terms, and the terms."""
        first = batch.first_targets
        if first is None:
            first = torch.full_like(batch.targets, PAD_LABEL)
        predicted = self.network.predict_features(batch.features)
        logits = self.network.classifier(torch.cat([batch.features[:, :1], predicted], dim=1))
        targets = torch.cat([first.unsqueeze(1), batch.step_targets], dim=1)
        terms = avt_losses(logits, targets, predicted, batch.features, self.loss_reduction)
        loss = terms.final + self.feature_weight * terms.features + self.past_weight * terms.past
        return loss, terms._asdict()
