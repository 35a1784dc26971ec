"""Diffusion time as features: sinusoids, and FiLM (scale and shift per channel)."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


def sinusoids(t: Int[Tensor, " batch"], dim: int) -> Float[Tensor, "batch dim"]:
    """Return [sin(t w_i), cos(t w_i)] with w_i = 10000^(-i / (dim / 2 - 1))."""
    half = dim // 2
    exponents = torch.arange(half, device=t.device, dtype=torch.float32) / (half - 1)
    angles = t.to(torch.float32).unsqueeze(-1) * torch.exp(-math.log(10_000) * exponents)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class TimeEmbedding(nn.Module):
    """Embeds the diffusion step t in 4 * d_model channels, once per model call.

    Args:
        d_model: Number of sinusoids.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.d_model = d_model
        self.mlp = nn.Sequential(
            nn.Linear(d_model, 4 * d_model), nn.GELU(), nn.Linear(4 * d_model, 4 * d_model)
        )

    def forward(self, t: Int[Tensor, " batch"]) -> Float[Tensor, "batch d_time"]:
        """Return the embedding of each step."""
        weight = next(self.mlp.parameters())
        return self.mlp(sinusoids(t, self.d_model).to(weight.dtype))


class FiLM(nn.Module):
    """Scales and shifts every channel as the time embedding says: h * (1 + scale) + shift.

    Args:
        d_time: Width of the time embedding.
        d_model: Width of the tokens.
    """

    def __init__(self, d_time: int, d_model: int) -> None:
        super().__init__()
        self.proj = nn.Linear(d_time, 2 * d_model)

    def forward(
        self, h: Float[Tensor, "batch tokens d_model"], time: Float[Tensor, "batch d_time"]
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Return the modulated tokens."""
        scale, shift = self.proj(F.silu(time)).unsqueeze(1).chunk(2, dim=-1)
        return torch.addcmul(shift, h, 1 + scale)
