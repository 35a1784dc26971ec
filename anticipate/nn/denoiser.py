"""What a diffusion model asks of its network."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

__all__ = ["Denoiser", "DenoiserOutput"]


class DenoiserOutput(NamedTuple):
    """What a denoiser returns."""

    x_0: Float[Tensor, "batch tokens classes"]
    """Estimate of the clean one-hot labels; zero on padding."""
    gamma: Float[Tensor, "blocks routers batch experts"]
    """Router probabilities of every mixture block; zero blocks without a mixture."""


class Denoiser(nn.Module, ABC):
    """A network that estimates clean labels from noisy ones and the observed features.

    `encode` runs once per video; `forward` once per denoising step and sample.
    """

    method: str
    """What tables call a model with this network."""

    @abstractmethod
    def encode(
        self,
        features: Float[Tensor, "batch observed_tokens feature"],
        observed: Bool[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Return what depends on the video alone."""

    @abstractmethod
    def forward(
        self,
        x_t: Float[Tensor, "batch tokens classes"],
        t: Int[Tensor, " batch"],
        condition: Float[Tensor, "batch tokens d_model"],
        observed: Bool[Tensor, "batch tokens"],
        valid: Bool[Tensor, "batch tokens"],
        self_cond: Float[Tensor, "batch tokens classes"] | None = None,
    ) -> DenoiserOutput:
        """Estimate the clean labels x_0 from the noisy labels x_t.

        Args:
            x_t: Noisy one-hot labels of observed and future tokens.
            t: Diffusion step of each row.
            condition: What `encode` returned.
            observed: Tokens with features.
            valid: Observed and future tokens; the rest is padding.
            self_cond: Previous estimate of x_0; None for none.
        """

    def __call__(self, *args: object) -> DenoiserOutput:
        """Call `forward` with Lightning's and torch's hooks."""
        output: DenoiserOutput = super().__call__(*args)
        return output
