"""A Transformer as denoiser: what MixANT's Tab. 3 compares state-space layers with.

The paper gives its sizes alone, 1.2 M parameters with 15 blocks and 1.4 M with 18. They leave room
for one convolution and one self-attention of width 64 in place of the Mamba layer. As in the
predecessors' temporal convolutions, dilation doubles from block to block, nine times; convolution
also encodes positions, as attention itself has no order.
"""

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anticipate.errors import ConfigError
from anticipate.nn.cpu.linear import Linear
from anticipate.nn.denoiser import BlockStack, DenoisingBlock, TokenMixer

__all__ = ["Transformer"]

DILATIONS = tuple(2**power for power in range(9))
"""Of one block after the other, then from the start."""


class ConvAttention(TokenMixer):
    """x = SiLU(dilated convolution of u), then x + self-attention of x over the whole sequence.

    Args:
        d_model: Width of the tokens.
        num_heads: Number of attention heads.
        dilation: Tokens between two of the convolution's three taps.
    """

    def __init__(self, d_model: int, num_heads: int, dilation: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.conv = nn.Conv1d(d_model, d_model, 3, padding=dilation, dilation=dilation)
        self.in_proj = Linear(d_model, 3 * d_model, bias=False)
        self.out_proj = Linear(d_model, d_model, bias=False)

    def mix(
        self,
        u: Float[Tensor, "batch tokens d_model"],
        valid: Bool[Tensor, "batch tokens"],
        gamma: Float[Tensor, "routers batch experts"] | None = None,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Return what `out_proj` reads, zero on padding; there is no gamma."""
        mask = valid.unsqueeze(-1).to(u.dtype)
        x = F.silu(self.conv(u.transpose(1, 2)).transpose(1, 2)) * mask
        queries, keys, values = rearrange(
            self.in_proj(x),
            "batch tokens (part heads d) -> part batch heads tokens d",
            part=3,
            heads=self.num_heads,
        )
        seen = rearrange(valid, "batch tokens -> batch 1 1 tokens")
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
        return x + rearrange(attended, "batch heads tokens d -> batch tokens (heads d)") * mask


class Transformer(BlockStack):
    """Denoiser of convolutions and self-attention, with MixANT's inputs, time and head.

    Args:
        num_classes: Number of action classes C; set from the data.
        feature_dim: Width of the features; set from the data.
        d_model: Width of the tokens.
        num_layers: Number of blocks.
        num_heads: Number of attention heads.
        self_conditioning: Whether the previous estimate of x_0 is an input.
        dropout: Dropout in the blocks.
        channel_dropout: Dropout of whole class channels of x_t.

    Raises:
        ConfigError: For sizes that do not fit together.
    """

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        d_model: int = 64,
        num_layers: int = 15,
        num_heads: int = 4,
        self_conditioning: bool = True,
        dropout: float = 0.0,
        channel_dropout: float = 0.0,
    ) -> None:
        if num_heads < 1 or d_model % num_heads:
            raise ConfigError(
                f"d_model must be a multiple of num_heads, got {d_model} and {num_heads}"
            )

        def make_block(layer: int) -> DenoisingBlock:
            dilation = DILATIONS[layer % len(DILATIONS)]
            mixer = ConvAttention(d_model, num_heads, dilation)
            return DenoisingBlock(mixer, d_model, dropout=dropout)

        super().__init__(
            num_classes,
            feature_dim,
            d_model,
            num_layers,
            make_block,
            self_conditioning,
            channel_dropout,
        )
        self.method = f"Transformer ({num_layers})"
