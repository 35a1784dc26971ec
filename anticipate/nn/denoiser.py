"""What denoisers are made of: the interface, diffusion time, the block, and the stack of blocks.

A diffusion model calls `encode` once per video and `forward` once per denoising step. MixANT's text
leaves the layout of its block open (Eq. 14-15); `BlockReading` names two readings. Conditioning on
time and on the previous estimate comes from the framework that MixANT builds on (GTDA, MANTA), and
is needed to reach the published sizes.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from anticipate.errors import ConfigError
from anticipate.nn.cpu.linear import Linear, linear

__all__ = ["Denoiser", "DenoiserOutput"]

RoutingContext = Literal["observed", "full"]
BlockReading = Literal["manta", "prenorm2"]


class _DenoiserOutput(NamedTuple):
    x_0: Float[Tensor, "batch tokens classes"]
    """Estimate of the clean one-hot labels; zero on padding."""
    gamma: Float[Tensor, "blocks routers batch experts"]
    """Router probabilities of every mixture block; zero blocks without a mixture."""
    stages: Float[Tensor, "stages batch tokens classes"]
    """Every estimate that is trained, the last one x_0; where none are given x_0 alone."""


class DenoiserOutput(_DenoiserOutput):
    """What a denoiser returns."""

    __slots__ = ()

    def __new__(cls, x_0: Tensor, gamma: Tensor, stages: Tensor | None = None) -> "DenoiserOutput":
        """Let x_0 be the only stage of a network without stages."""
        return super().__new__(cls, x_0, gamma, x_0.unsqueeze(0) if stages is None else stages)


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


class TokenMixer(nn.Module, ABC):
    """A layer that lets tokens meet and ends with a linear map, `out_proj`."""

    out_proj: Linear

    @abstractmethod
    def mix(
        self,
        u: Float[Tensor, "batch tokens d_model"],
        valid: Bool[Tensor, "batch tokens"],
        gamma: Float[Tensor, "routers batch experts"] | None = None,
    ) -> Float[Tensor, "batch tokens d_inner"]:
        """Return what `out_proj` reads: zero on padding if `u` is, as it must be.

        Args:
            u: Normalised tokens.
            valid: False on padding, which never changes the output of valid tokens.
            gamma: Router probabilities, for layers that have a mixture.
        """

    def forward(
        self,
        u: Float[Tensor, "batch tokens d_model"],
        valid: Bool[Tensor, "batch tokens"],
        gamma: Float[Tensor, "routers batch experts"] | None = None,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Return the layer's output, see `mix`."""
        return self.out_proj(self.mix(u, valid, gamma))


class DenoisingBlock(nn.Module):
    """LayerNorm, token mixer, MLP, FiLM and residual: Eq. 14-15 in two readings.

    Args:
        mixer: The layer that lets tokens meet.
        d_model: Width of the tokens.
        routers: None for a static block, one shared by both directions, or one each.
        routing_context: Tokens the routers average: `observed` or `full`.
        block: `manta` (one residual around layer, LayerScale and one linear map) or `prenorm2` (a
            residual around the layer and one around a two-layer MLP).
        dropout: Dropout after the MLP.
    """

    def __init__(
        self,
        mixer: TokenMixer,
        d_model: int,
        routers: Sequence[nn.Module] = (),
        routing_context: RoutingContext = "observed",
        block: BlockReading = "manta",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.routing_context = routing_context
        self.norm = nn.LayerNorm(d_model)
        self.mixer = mixer
        self.routers = nn.ModuleList(routers)
        if block == "manta":
            self.layer_scale = nn.Parameter(torch.full((d_model,), 1e-4))
            self.mlp: nn.Module = Linear(d_model, d_model)
        else:
            self.mlp_norm = nn.LayerNorm(d_model)
            self.mlp = nn.Sequential(Linear(d_model, d_model), nn.GELU(), Linear(d_model, d_model))
        self.film = FiLM(4 * d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        h: Float[Tensor, "batch tokens d_model"],
        time: Float[Tensor, "batch d_time"],
        observed: Bool[Tensor, "batch tokens"],
        valid: Bool[Tensor, "batch tokens"],
    ) -> tuple[
        Float[Tensor, "batch tokens d_model"], Float[Tensor, "routers batch experts"] | None
    ]:
        """Return the tokens, zero on padding, and gamma of a mixture block."""
        mask = valid.unsqueeze(-1).to(h.dtype)
        u = self.norm(h) * mask
        context = observed if self.routing_context == "observed" else valid
        gamma = (
            torch.stack([router(u, context) for router in self.routers]) if self.routers else None
        )
        if isinstance(self.mlp, Linear):
            # Nothing comes between out_proj, LayerScale and this map: one matrix is faster. The
            # mixer is zero on padding, whatever its scale.
            weight = (self.mlp.weight * self.layer_scale) @ self.mixer.out_proj.weight
            update = linear(self.mixer.mix(u, valid, gamma), weight, self.mlp.bias)
        else:
            h = h + self.mixer(u, valid, gamma)
            update = self.mlp(self.mlp_norm(h))
        return (h + self.film(self.dropout(update), time)) * mask, gamma


class BlockStack(Denoiser):
    """Projects noisy labels and observed features to tokens, runs the blocks, reads labels.

    Args:
        num_classes: Number of action classes C.
        feature_dim: Width of the features.
        d_model: Width of the tokens.
        num_layers: Number of blocks.
        make_block: Builds the block of a layer, counted from 0.
        self_conditioning: Whether the previous estimate of x_0 is an input.
        channel_dropout: Dropout of whole class channels of x_t.

    Raises:
        ConfigError: For sizes that do not fit together.
    """

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        d_model: int,
        num_layers: int,
        make_block: Callable[[int], DenoisingBlock],
        self_conditioning: bool,
        channel_dropout: float,
    ) -> None:
        super().__init__()
        check_sizes(d_model, num_layers)
        self.num_classes, self.self_conditioning = num_classes, self_conditioning
        self.channel_dropout = nn.Dropout1d(channel_dropout)
        label_dim = num_classes * (2 if self_conditioning else 1)
        self.feature_proj = Linear(feature_dim, d_model, bias=False)
        self.label_proj = Linear(label_dim, d_model)
        # Both are one linear map of [x_t, self_cond, features]; kept apart, features are projected
        # once per video.
        bound = (feature_dim + label_dim) ** -0.5
        for parameter in (*self.feature_proj.parameters(), *self.label_proj.parameters()):
            nn.init.uniform_(parameter, -bound, bound)
        self.time = TimeEmbedding(d_model)
        self.blocks = nn.ModuleList(make_block(layer) for layer in range(num_layers))
        self.head = Linear(d_model, num_classes)

    def encode(
        self,
        features: Float[Tensor, "batch observed_tokens feature"],
        observed: Bool[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Return what depends on the video alone: projected features, zero where not observed."""
        return for_all_tokens(self.feature_proj(features[:, : observed.shape[1]]), observed)

    def forward(
        self,
        x_t: Float[Tensor, "batch tokens classes"],
        t: Int[Tensor, " batch"],
        condition: Float[Tensor, "batch tokens d_model"],
        observed: Bool[Tensor, "batch tokens"],
        valid: Bool[Tensor, "batch tokens"],
        self_cond: Float[Tensor, "batch tokens classes"] | None = None,
    ) -> DenoiserOutput:
        """Estimate the clean labels, see `Denoiser.forward`."""
        mask = valid.unsqueeze(-1).to(x_t.dtype)
        labels = self.channel_dropout(x_t.transpose(1, 2)).transpose(1, 2)
        if self.self_conditioning:
            previous = torch.zeros_like(x_t) if self_cond is None else self_cond
            labels = torch.cat([labels, previous], dim=-1)
        h = (self.label_proj(labels) + condition) * mask
        time = self.time(t)
        gammas = []
        for block in self.blocks:
            h, gamma = block(h, time, observed, valid)
            if gamma is not None:
                gammas.append(gamma)
        stacked = torch.stack(gammas) if gammas else h.new_zeros(0, 1, len(h), 1)
        return DenoiserOutput(self.head(h) * mask, stacked)


def for_all_tokens(
    projected: Float[Tensor, "batch observed_tokens channels"],
    observed: Bool[Tensor, "batch tokens"],
) -> Float[Tensor, "batch tokens channels"]:
    """Return projected features of all tokens, zero where nothing is observed."""
    missing = observed.shape[1] - projected.shape[1]
    return F.pad(projected, (0, 0, 0, missing)) * observed.unsqueeze(-1)


def check_sizes(d_model: int, num_layers: int) -> None:
    """Refuse sizes that no denoiser can have.

    Raises:
        ConfigError: An odd or too small width, or no layers.
    """
    if d_model < 4 or d_model % 2:
        raise ConfigError(
            f"d_model must be even and at least 4 (half sines, half cosines), got {d_model}"
        )
    if num_layers < 1:
        raise ConfigError(f"num_layers must be at least 1, got {num_layers}")
