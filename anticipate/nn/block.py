"""The block that denoisers are stacked from: a layer in which tokens meet, between norm and MLP.

MixANT's text leaves the block's layout open (Eq. 14-15); `BlockReading` names two readings.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anticipate.nn.linear import Linear, linear
from anticipate.nn.mixture import Router
from anticipate.nn.time_embedding import FiLM

RoutingContext = Literal["observed", "full"]
BlockReading = Literal["manta", "prenorm2"]


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
        mlp_ratio: Hidden width of the MLP of `prenorm2` over d_model.
        dropout: Dropout after the MLP.
    """

    def __init__(
        self,
        mixer: TokenMixer,
        d_model: int,
        routers: Sequence[Router] = (),
        routing_context: RoutingContext = "observed",
        block: BlockReading = "manta",
        mlp_ratio: float = 1.0,
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
            # Nothing comes between out_proj, LayerScale and this map: one matrix is faster. The
            # mixer is zero on padding, whatever its scale.
            weight = (self.mlp.weight * self.layer_scale) @ self.mixer.out_proj.weight
            update = linear(self.mixer.mix(u, valid, gamma), weight, self.mlp.bias)
        else:
            h = h + self.mixer(u, valid, gamma)
            update = self.mlp(self.mlp_norm(h))
        return (h + self.film(self.dropout(update), time)) * mask, gamma
