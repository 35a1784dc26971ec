"""Depth-wise causal convolution with SiLU, in either direction of time (MixANT Eq. 7)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def causal_conv_silu(
    x: Float[Tensor, "batch tokens d_inner"],
    weight: Float[Tensor, "d_inner d_conv"],
    bias: Float[Tensor, " d_inner"],
    reverse: bool = False,
) -> Float[Tensor, "batch tokens d_inner"]:
    """Return SiLU(conv(x)) where token l sees tokens l - d_conv + 1 .. l only.

    Args:
        x: Channels-last input.
        weight: One filter per channel; its last tap meets the present token, as in causal_conv1d.
        bias: One offset per channel.
        reverse: Run against time: token l sees l .. l + d_conv - 1. Equals flipping input and
            output.
    """
    num_tokens, d_conv = x.shape[1], weight.shape[1]
    padded = F.pad(x, (0, 0, 0, d_conv - 1) if reverse else (0, 0, d_conv - 1, 0))
    taps = weight.flip(1) if reverse else weight
    y = bias + padded[:, :num_tokens] * taps[:, 0]
    for tap in range(1, d_conv):
        y = y + padded[:, tap : tap + num_tokens] * taps[:, tap]
    return F.silu(y)
