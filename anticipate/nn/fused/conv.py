"""Depth-wise causal convolution with SiLU, in either direction of time (MixANT Eq. 7)."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anticipate.nn.fused.dispatch import runs_compiled


def causal_conv_silu(
    x: Float[Tensor, "batch tokens d_inner"],
    weight: Float[Tensor, "d_inner d_conv"],
    bias: Float[Tensor, " d_inner"],
    mask: Float[Tensor, "batch tokens"],
    reverse: bool = False,
) -> Float[Tensor, "batch tokens d_inner"]:
    """Return SiLU(conv(x)) * mask where token l sees tokens l - d_conv + 1 .. l only.

    Args:
        x: Channels-last input.
        weight: One filter per channel; its last tap meets the present token, as in causal_conv1d.
        bias: One offset per channel.
        mask: Factor of each token of the output, without gradient.
        reverse: Run against time: token l sees l .. l + d_conv - 1. Equals flipping input and
            output.
    """
    form = _compiled if runs_compiled(x) else plain_conv_silu
    return form(x, weight, bias, mask, reverse)


def plain_conv_silu(
    x: Float[Tensor, "batch tokens d_inner"],
    weight: Float[Tensor, "d_inner d_conv"],
    bias: Float[Tensor, " d_inner"],
    mask: Float[Tensor, "batch tokens"],
    reverse: bool,
) -> Float[Tensor, "batch tokens d_inner"]:
    """Return what `causal_conv_silu` returns, on any device and in any precision."""
    num_tokens, d_conv = x.shape[1], weight.shape[1]
    padded = F.pad(x, (0, 0, 0, d_conv - 1) if reverse else (0, 0, d_conv - 1, 0))
    taps = weight.flip(1) if reverse else weight
    y = bias + padded[:, :num_tokens] * taps[:, 0]
    for tap in range(1, d_conv):
        y = y + padded[:, tap : tap + num_tokens] * taps[:, tap]
    return F.silu(y) * mask.unsqueeze(-1)


@torch.library.custom_op("anticipate::causal_conv_silu", mutates_args=())
def _compiled(x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, reverse: bool) -> Tensor:
    from anticipate.nn.fused import conv_cpu

    return conv_cpu.forward(x, weight, bias, mask, reverse)


@torch.library.custom_op("anticipate::causal_conv_silu_backward", mutates_args=())
def _compiled_backward(
    grad_y: Tensor, x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    from anticipate.nn.fused import conv_cpu

    return conv_cpu.backward(grad_y, x, weight, bias, mask, reverse)


@_compiled.register_fake
def _fake(x: Tensor, *arguments: Any) -> Tensor:
    return x.new_empty(x.shape)


@_compiled_backward.register_fake
def _fake_backward(
    grad_y: Tensor, x: Tensor, weight: Tensor, bias: Tensor, *arguments: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape), bias.new_empty(bias.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.reverse = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
    return *_compiled_backward(grad_y, *ctx.saved_tensors, ctx.reverse), None, None


_compiled.register_autograd(_differentiate, setup_context=_save)
_compiled.register_autocast("cpu", torch.float32)
