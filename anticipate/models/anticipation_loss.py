"""Weighted cross-entropy of clips, whose steps all predict the action one step later (AGA)."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from anticipate.types import PAD_LABEL

Reduction = Literal["mean", "released"]


def class_weights(class_counts: Sequence[int]) -> Float[Tensor, " actions"]:
    """Return w_c = a_c / mean(a) with a_c = 1 / sqrt(n_c + 1): rare actions weigh more.

    Args:
        class_counts: Training rows n_c of each action.
    """
    weights = (torch.tensor(class_counts, dtype=torch.float64) + 1).rsqrt()
    return (weights / weights.mean()).float()


def anticipation_loss(
    logits: Float[Tensor, "batch steps actions"],
    step_targets: Int[Tensor, "batch steps"],
    weights: Float[Tensor, " actions"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""]:
    """Return the loss of all steps plus once more that of the last step, which is what is scored.

    Args:
        logits: What each step predicts.
        step_targets: The action one step later; PAD_LABEL where nothing is labelled.
        weights: Weight of each action; all 1 when None.
        reduction: `mean`: each of the two terms is a mean over its labelled steps; `released`: over
            all its steps, those without a label counting as zeros, as AGA's public code does.
    """
    losses = F.cross_entropy(
        logits.flatten(0, 1),
        step_targets.flatten().long(),
        weights,
        ignore_index=PAD_LABEL,
        reduction="none",
    ).unflatten(0, step_targets.shape)
    if reduction == "released":
        return losses.mean() + losses[:, -1].mean()
    labelled = step_targets != PAD_LABEL
    every_step = losses.sum() / labelled.sum().clamp(min=1)
    return every_step + losses[:, -1].sum() / labelled[:, -1].sum().clamp(min=1)
