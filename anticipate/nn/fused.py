"""What a Mamba layer does between its matrix products and scans, in one pass over memory each.

Every function has a plain PyTorch form, which other devices and float64 run and which states what
the function means, and a compiled form for the CPU (`anticipate.nn.cpu`). The compiled forms save a
quarter to a third of a denoising step or a training step there.
"""

from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_COMPILER_FOUND = find_spec("numba") is not None


def _runs_compiled(x: Tensor) -> bool:
    """Return whether `x` is on the CPU, in a precision that float32 covers."""
    return _COMPILER_FOUND and x.device.type == "cpu" and x.dtype != torch.float64


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
    form = _conv_compiled if _runs_compiled(x) else plain_conv_silu
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
def _conv_compiled(x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, reverse: bool) -> Tensor:
    from anticipate.nn.cpu import conv_kernel

    return conv_kernel.forward(x, weight, bias, mask, reverse)


@torch.library.custom_op("anticipate::causal_conv_silu_backward", mutates_args=())
def _conv_compiled_backward(
    grad_y: Tensor, x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    from anticipate.nn.cpu import conv_kernel

    return conv_kernel.backward(grad_y, x, weight, bias, mask, reverse)


@_conv_compiled.register_fake
def _conv_fake(x: Tensor, *arguments: Any) -> Tensor:
    return x.new_empty(x.shape)


@_conv_compiled_backward.register_fake
def _conv_fake_backward(
    grad_y: Tensor, x: Tensor, weight: Tensor, bias: Tensor, *arguments: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape), bias.new_empty(bias.shape)


def _conv_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.reverse = inputs
    ctx.save_for_backward(*tensors)


def _conv_differentiate(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
    return *_conv_compiled_backward(grad_y, *ctx.saved_tensors, ctx.reverse), None, None


_conv_compiled.register_autograd(_conv_differentiate, setup_context=_conv_save)
_conv_compiled.register_autocast("cpu", torch.float32)


def gated_sum(
    y_forward: Float[Tensor, "batch tokens d_inner"],
    y_backward: Float[Tensor, "batch tokens d_inner"],
    z: Float[Tensor, "batch tokens d_inner"],
) -> Float[Tensor, "batch tokens d_inner"]:
    """Return (y_forward + y_backward) * SiLU(z)."""
    form = _gate_compiled if _runs_compiled(z) else plain_gated_sum
    return form(y_forward, y_backward, z)


def plain_gated_sum(
    y_forward: Float[Tensor, "batch tokens d_inner"],
    y_backward: Float[Tensor, "batch tokens d_inner"],
    z: Float[Tensor, "batch tokens d_inner"],
) -> Float[Tensor, "batch tokens d_inner"]:
    """Return what `gated_sum` returns, on any device and in any precision."""
    return (y_forward + y_backward) * F.silu(z)


@torch.library.custom_op("anticipate::gated_sum", mutates_args=())
def _gate_compiled(y_forward: Tensor, y_backward: Tensor, z: Tensor) -> Tensor:
    from anticipate.nn.cpu import gate_kernel

    return gate_kernel.forward(y_forward, y_backward, z)


@torch.library.custom_op("anticipate::gated_sum_backward", mutates_args=())
def _gate_compiled_backward(
    grad_y: Tensor, y_forward: Tensor, y_backward: Tensor, z: Tensor
) -> tuple[Tensor, Tensor]:
    from anticipate.nn.cpu import gate_kernel

    return gate_kernel.backward(grad_y, y_forward, y_backward, z)


@_gate_compiled.register_fake
def _gate_fake(y_forward: Tensor, y_backward: Tensor, z: Tensor) -> Tensor:
    return z.new_empty(z.shape)


@_gate_compiled_backward.register_fake
def _gate_fake_backward(
    grad_y: Tensor, y_forward: Tensor, y_backward: Tensor, z: Tensor
) -> tuple[Tensor, Tensor]:
    return z.new_empty(z.shape), z.new_empty(z.shape)


def _gate_save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gate_differentiate(ctx: Any, grad_y: Tensor) -> tuple[Tensor, ...]:
    grad_sum, grad_z = _gate_compiled_backward(grad_y, *ctx.saved_tensors)
    return grad_sum, grad_sum, grad_z


_gate_compiled.register_autograd(_gate_differentiate, setup_context=_gate_save)
_gate_compiled.register_autocast("cpu", torch.float32)
