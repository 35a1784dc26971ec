"""The layers that AGA is made of: an encoder and two norms that are safe on zero vectors."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anticipate.nn.linear import Linear


class Encoder(nn.Module):
    """LayerNorm, ReLU, dropout and a linear map: AGA's frame, query, key and class encoders.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        dropout: Share of the inputs of the linear map that are dropped.
        normalise: Whether LayerNorm comes first.
    """

    def __init__(
        self, in_features: int, out_features: int, dropout: float, normalise: bool = True
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_features) if normalise else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.linear = Linear(in_features, out_features)

    def forward(
        self, x: Float[Tensor, "*batch in_features"]
    ) -> Float[Tensor, "*batch out_features"]:
        """Return the encoded vectors."""
        return self.linear(self.dropout(self.norm(x).relu()))


class ScaleNorm(nn.Module):
    """A vector of length 1, times a learned gain per channel; a zero vector stays zero.

    Args:
        dim: Width of the vectors.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Return the scaled vectors."""
        return x / _nonzero(x.norm(dim=-1, keepdim=True)) * self.gain


class RMSNorm(nn.Module):
    """A vector whose mean square is 1, times a learned gain per channel; zero stays zero.

    Unlike `torch.nn.RMSNorm` it adds no epsilon: short vectors are scaled like long ones.

    Args:
        dim: Width of the vectors.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Return the scaled vectors."""
        root_mean_square = x.norm(dim=-1, keepdim=True) * x.shape[-1] ** -0.5
        return x / _nonzero(root_mean_square) * self.gain


def _nonzero(length: Tensor) -> Tensor:
    return torch.where(length > 0, length, 1.0)
