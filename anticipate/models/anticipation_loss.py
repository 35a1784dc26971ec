"""Losses of clips: of AGA and AVT-h, whose steps predict the next step, and of RULSTM."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

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
    losses = cross_entropies(logits, step_targets, weights)
    last = reduced(losses[:, -1:], step_targets[:, -1:], reduction)
    return reduced(losses, step_targets, reduction) + last


def cross_entropies(
    logits: Float[Tensor, "batch steps actions"],
    targets: Int[Tensor, "batch steps"],
    weights: Float[Tensor, " actions"] | None = None,
) -> Float[Tensor, "batch steps"]:
    """Return the cross-entropy of each step; 0 where nothing is labelled.

    Args:
        logits: What each step predicts.
        targets: What it should; PAD_LABEL where nothing is labelled.
        weights: Weight of each action; all 1 when None.
    """
    return F.cross_entropy(
        logits.flatten(0, 1),
        targets.flatten().long(),
        weights,
        ignore_index=PAD_LABEL,
        reduction="none",
    ).unflatten(0, targets.shape)


def reduced(
    losses: Float[Tensor, "batch steps"], targets: Int[Tensor, "batch steps"], reduction: Reduction
) -> Float[Tensor, ""]:
    """Return the mean of losses over labelled steps (`mean`) or over all (`released`)."""
    if reduction == "released":
        return losses.mean()
    return losses.sum() / (targets != PAD_LABEL).sum().clamp(min=1)


class AVTLosses(NamedTuple):
    """The three terms of AVT-h's loss (Girdhar and Grauman, Sec. 3.3)."""

    final: Float[Tensor, ""]
    """Cross-entropy of the action that follows the clip."""
    features: Float[Tensor, ""]
    """Mean squared error of the features that frames predict; the data get no gradient."""
    past: Float[Tensor, ""]
    """Cross-entropy of what each frame of the clip shows: the oldest as itself, the others as the
    frame before predicts them."""


def avt_losses(
    logits: Float[Tensor, "batch first_and_steps actions"],
    targets: Int[Tensor, "batch first_and_steps"],
    predicted: Float[Tensor, "batch steps feature"],
    features: Float[Tensor, "batch steps feature"],
    reduction: Reduction = "mean",
) -> AVTLosses:
    """Return the three terms of AVT-h's loss.

    Args:
        logits: Of the oldest frame, then of each predicted feature.
        targets: What the oldest frame shows, then what each step has to predict; PAD_LABEL where
            nothing is labelled.
        predicted: Feature of the next step that each step predicts.
        features: Features of the steps.
        reduction: Cross-entropies as means over what is labelled, or over all (`released`).
    """
    losses = cross_entropies(logits, targets)
    errors = predicted[:, :-1] - features[:, 1:]
    return AVTLosses(
        final=reduced(losses[:, -1:], targets[:, -1:], reduction),
        features=errors.square().sum() / max(errors.numel(), 1),
        past=reduced(losses[:, :-1], targets[:, :-1], reduction),
    )


def repeated_target_loss(
    logits: Float[Tensor, "batch steps actions"], targets: Int[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of steps that all anticipate one action (RULSTM).

    Args:
        logits: What each step predicts.
        targets: The action that follows the clip; PAD_LABEL where nothing is labelled.
    """
    repeated = targets.unsqueeze(1).expand(logits.shape[:2])
    return reduced(cross_entropies(logits, repeated), repeated, "mean")
