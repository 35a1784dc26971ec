"""Forward diffusion and the x_0 objective (MixANT Sec. 4.1, 4.3; GTDA)."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anticipate.errors import ConfigError

Reduction = Literal["mean", "released"]


def add_noise(
    x_0: Float[Tensor, "batch tokens classes"],
    noise: Float[Tensor, "batch tokens classes"],
    t: Int[Tensor, " batch"],
    alphas_cumprod: Float[Tensor, " timesteps"],
) -> Float[Tensor, "batch tokens classes"]:
    """Return x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise."""
    alpha_bar = alphas_cumprod[t].to(x_0.dtype)[:, None, None]
    return alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise


def noise_in(
    x_t: Float[Tensor, "batch tokens classes"],
    x_0: Float[Tensor, "batch tokens classes"],
    t: Int[Tensor, " batch"],
    alphas_cumprod: Float[Tensor, " timesteps"],
) -> Float[Tensor, "batch tokens classes"]:
    """Return the noise from which `add_noise` makes x_t of x_0."""
    alpha_bar = alphas_cumprod[t].to(x_0.dtype)[:, None, None]
    return (x_t - alpha_bar.sqrt() * x_0) / (1 - alpha_bar).sqrt()


def one_hot(
    targets: Int[Tensor, "batch tokens"], valid: Bool[Tensor, "batch tokens"], num_classes: int
) -> Float[Tensor, "batch tokens classes"]:
    """Return x_0 in {0, 1}, zero on padding."""
    classes = torch.where(valid, targets, 0).long()
    return torch.nn.functional.one_hot(classes, num_classes).float() * valid.unsqueeze(-1)


def reconstruction_loss(
    x_0: Float[Tensor, "batch tokens classes"],
    estimate: Float[Tensor, "batch tokens classes"],
    valid: Bool[Tensor, "batch tokens"],
    reduction: Reduction = "mean",
) -> Float[Tensor, ""]:
    """Return the l2 reconstruction loss of Eq. 16 over observed and future tokens alike.

    Args:
        x_0: Clean labels.
        estimate: The network's estimate.
        valid: False on padding, which never counts.
        reduction: `mean`: squared norm per token, averaged over the valid tokens, so that lambda
            means the same for every batch size; `released`: mean over padded tokens and classes,
            summed over the batch, as the public code of GTDA and MANTA does.

    Raises:
        ConfigError: Another reduction.
    """
    squared = (x_0 - estimate).square() * valid.unsqueeze(-1)
    if reduction == "released":
        return squared.mean(dim=(1, 2)).sum()
    if reduction == "mean":
        return squared.sum() / valid.sum().clamp(min=1)
    raise ConfigError(
        f"loss_reduction is '{reduction}': expected mean or released ('code' in version 0.1)"
    )
