"""What denoisers made of equal blocks share: inputs, diffusion time and the head (MixANT Sec. 4.2).

Time conditioning and self-conditioning come from the diffusion framework MixANT builds on (GTDA,
MANTA) and are needed to reach the published sizes.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from anticipate.errors import ConfigError
from anticipate.nn.block import DenoisingBlock
from anticipate.nn.denoiser import Denoiser, DenoiserOutput
from anticipate.nn.linear import Linear
from anticipate.nn.time_embedding import TimeEmbedding


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
        _check_sizes(d_model, num_layers)
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


def _check_sizes(d_model: int, num_layers: int) -> None:
    if d_model < 4 or d_model % 2:
        raise ConfigError(
            f"d_model must be even and at least 4 (half sines, half cosines), got {d_model}"
        )
    if num_layers < 1:
        raise ConfigError(f"num_layers must be at least 1, got {num_layers}")
