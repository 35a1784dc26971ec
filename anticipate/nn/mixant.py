"""MixANT: the network that cleans noisy label sequences, given observed features (Sec. 4.2).

The paper's text leaves the block's layout open; `block` selects the reading. Time conditioning and
self-conditioning come from the diffusion framework MixANT builds on (GTDA, MANTA) and are needed to
reach the published sizes: 1,588,720 parameters on Breakfast, 1,388,272 with one expert, which is
MANTA.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from anticipate.errors import ConfigError
from anticipate.nn.denoiser import Denoiser, DenoiserOutput
from anticipate.nn.linear import Linear, linear
from anticipate.nn.mamba import BidirectionalMamba
from anticipate.nn.mixture import Router, Selection
from anticipate.nn.time_embedding import FiLM, TimeEmbedding

RoutingContext = Literal["observed", "full"]
BlockReading = Literal["manta", "prenorm2"]


class MixMambaBlock(nn.Module):
    """LayerNorm, bidirectional (Mix)Mamba, MLP, FiLM and residual: Eq. 14-15 in two readings.

    Args:
        mixer: The layer that lets tokens meet.
        routers: None for a static block, one shared by both directions, or one each.
        d_model: Width of the tokens.
        routing_context: Tokens the routers average: `observed` or `full`.
        block: `manta` (one residual around layer, LayerScale and one linear map) or `prenorm2` (a
            residual around the layer and one around a two-layer MLP).
        mlp_ratio: Hidden width of the MLP of `prenorm2` over d_model.
        dropout: Dropout after the MLP.
    """

    def __init__(
        self,
        mixer: BidirectionalMamba,
        routers: Sequence[Router],
        d_model: int,
        routing_context: RoutingContext,
        block: BlockReading,
        mlp_ratio: float,
        dropout: float,
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
            hidden = int(mlp_ratio * d_model)
            self.mlp_norm = nn.LayerNorm(d_model)
            self.mlp = nn.Sequential(Linear(d_model, hidden), nn.GELU(), Linear(hidden, d_model))
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
            # Nothing stands between out_proj, LayerScale and this map: one matrix is faster. The
            # mixer is zero on padding, whatever its scale.
            weight = (self.mlp.weight * self.layer_scale) @ self.mixer.out_proj.weight
            update = linear(self.mixer.mix(u, valid, gamma), weight, self.mlp.bias)
        else:
            h = h + self.mixer(u, valid, gamma)
            update = self.mlp(self.mlp_norm(h))
        return (h + self.film(self.dropout(update), time)) * mask, gamma


class MixANT(Denoiser):
    """Denoiser of MixANT; with one expert, of MANTA.

    Args:
        num_classes: Number of action classes C; set from the data.
        feature_dim: Width of the features; set from the data.
        d_model: Width of the tokens.
        num_layers: Number of blocks K.
        num_static_layers: First blocks without a mixture, K0.
        num_experts: Forget matrices per mixture block and direction, E; 1 is MANTA.
        router: `unified`: one gamma for both directions; `independent`: one each.
        routing_context: Tokens the router averages: the `observed` ones or the `full` sequence.
        selection: `straight_through` (hard choice, gradient to the router), `literal` (hard choice,
            the router learns from load balancing alone) or `soft` (weighted mean of the experts).
        expert_init_jitter: Standard deviation of the Gaussian that tells experts apart at the
            start.
        block: Reading of Eq. 14-15: `manta` (one residual) or `prenorm2` (two residuals, as in a
            transformer).
        mlp_ratio: Hidden width of the MLP of `prenorm2` over d_model.
        d_state: State size N per channel.
        d_conv: Width of the depth-wise convolution.
        expand: d_inner / d_model.
        self_conditioning: Whether the previous estimate of x_0 is an input.
        dropout: Dropout in the blocks; the public code of the predecessors lists it but never
            applies it.
        channel_dropout: Dropout of whole class channels of x_t; likewise.

    Raises:
        ConfigError: For sizes that do not fit together.
    """

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        d_model: int = 64,
        num_layers: int = 15,
        num_static_layers: int = 3,
        num_experts: int = 5,
        router: Literal["unified", "independent"] = "unified",
        routing_context: RoutingContext = "observed",
        selection: Selection = "straight_through",
        expert_init_jitter: float = 0.0,
        block: BlockReading = "manta",
        mlp_ratio: float = 1.0,
        d_state: int = 16,
        d_conv: int = 3,
        expand: int = 2,
        self_conditioning: bool = True,
        dropout: float = 0.0,
        channel_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check_sizes(d_model, num_layers, num_static_layers, num_experts)
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

        def make_block(experts: int) -> MixMambaBlock:
            num_routers = 0 if experts == 1 else 1 if router == "unified" else 2
            return MixMambaBlock(
                BidirectionalMamba(
                    d_model, d_state, d_conv, expand, experts, selection, expert_init_jitter
                ),
                [Router(d_model, experts) for _ in range(num_routers)],
                d_model,
                routing_context,
                block,
                mlp_ratio,
                dropout,
            )

        self.blocks = nn.ModuleList(
            make_block(1 if layer < num_static_layers else num_experts)
            for layer in range(num_layers)
        )
        self.head = Linear(d_model, num_classes)

    def encode(
        self,
        features: Float[Tensor, "batch observed_tokens feature"],
        observed: Bool[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Return what depends on the video alone: projected features, zero where not observed."""
        num_tokens = observed.shape[1]
        projected = self.feature_proj(features[:, :num_tokens])
        projected = F.pad(projected, (0, 0, 0, num_tokens - projected.shape[1]))
        return projected * observed.unsqueeze(-1)

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


def _check_sizes(d_model: int, num_layers: int, num_static_layers: int, num_experts: int) -> None:
    if d_model < 4 or d_model % 2:
        raise ConfigError(
            f"d_model must be even and at least 4 (half sines, half cosines), got {d_model}"
        )
    if num_layers < 1:
        raise ConfigError(f"num_layers must be at least 1, got {num_layers}")
    if not 0 <= num_static_layers <= num_layers:
        raise ConfigError(
            f"num_static_layers must lie between 0 and num_layers ({num_layers}), "
            f"got {num_static_layers}"
        )
    if num_experts < 1:
        raise ConfigError(f"num_experts must be at least 1, got {num_experts}")
