"""The sum of both scan directions, gated with SiLU (MixANT Eq. 9)."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anticipate.nn.fused.dispatch import runs_compiled


def gated_sum(
    y_forward: Float[Tensor, "batch tokens d_inner"],
    y_backward: Float[Tensor, "batch tokens d_inner"],
    z: Float[Tensor, "batch tokens d_inner"],
) -> Float[Tensor, "batch tokens d_inner"]:
    """Return (y_forward + y_backward) * SiLU(z)."""
    form = _compiled if runs_compiled(z) else plain_gated_sum
    return form(y_forward, y_backward, z)


def plain_gated_sum(
    y_forward: Float[Tensor, "batch tokens d_inner"],
    y_backward: Float[Tensor, "batch tokens d_inner"],
    z: Float[Tensor, "batch tokens d_inner"],
) -> Float[Tensor, "batch tokens d_inner"]:
    """Return what `gated_sum` returns, on any device and in any precision."""
    return (y_forward + y_backward) * F.silu(z)


@torch.library.custom_op("anticipate::gated_sum", mutates_args=())
def _compiled(y_forward: Tensor, y_backward: Tensor, z: Tensor) -> Tensor:
    from anticipate.nn.fused import gate_cpu

    return gate_cpu.forward(y_forward, y_backward, z)


@torch.library.custom_op("anticipate::gated_sum_backward", mutates_args=())
def _compiled_backward(
    grad_y: Tensor, y_forward: Tensor, y_backward: Tensor, z: Tensor
) -> tuple[Tensor, Tensor]:
    from anticipate.nn.fused import gate_cpu

    return gate_cpu.backward(grad_y, y_forward, y_backward, z)


@_compiled.register_fake
def _fake(y_forward: Tensor, y_backward: Tensor, z: Tensor) -> Tensor:
    return z.new_empty(z.shape)


@_compiled_backward.register_fake
def _fake_backward(
    grad_y: Tensor, y_forward: Tensor, y_backward: Tensor, z: Tensor
) -> tuple[Tensor, Tensor]:
    return z.new_empty(z.shape), z.new_empty(z.shape)


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad_y: Tensor) -> tuple[Tensor, ...]:
    grad_sum, grad_z = _compiled_backward(grad_y, *ctx.saved_tensors)
    return grad_sum, grad_sum, grad_z


_compiled.register_autograd(_differentiate, setup_context=_save)
_compiled.register_autocast("cpu", torch.float32)
