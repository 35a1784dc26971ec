"""The scan as two custom operators: autograd, autocast and torch.compile see one opaque node each.

Operators know tensors and plain values only, so arguments are flat here, absent gradients are
tensors without elements, and the backend is chosen inside the operator, where no compiler looks.
"""

from typing import Any

import torch
from torch import Tensor

from anticipate.nn.scan.backends import UnusableError, give_up, load
from anticipate.nn.scan.inputs import CHUNK, ScanInputs, empty_sequence, empty_starts

NUM_TENSORS = 8


@torch.library.custom_op("anticipate::selective_scan", mutates_args=())
def scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    reverse: bool,
    backend: str,
) -> tuple[Tensor, Tensor]:
    """Return y and the states that backward starts from."""
    inputs = ScanInputs(u, delta, A, B, C, D, z, delta_bias, delta_softplus, reverse)
    module = load(backend, u, A)
    try:
        return module.forward(inputs)
    except UnusableError as error:
        give_up(backend, module, error)
    return load(backend, u, A).forward(inputs)


@torch.library.custom_op("anticipate::selective_scan_backward", mutates_args=())
def scan_backward(
    grad_y: Tensor,
    starts: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    reverse: bool,
    backend: str,
) -> list[Tensor]:
    """Return the gradients of the eight tensors; those of absent tensors have no elements."""
    inputs = ScanInputs(u, delta, A, B, C, D, z, delta_bias, delta_softplus, reverse)
    grads = load(backend, u, A).backward(grad_y, starts, inputs)
    return [u.new_empty(0) if grad is None else grad for grad in grads]


@scan.register_fake
def _scan_fake(*arguments: Any) -> tuple[Tensor, Tensor]:
    inputs = ScanInputs(*arguments[:-1])
    chunk = getattr(load(arguments[-1], inputs.u, inputs.A), "CHUNK", CHUNK)
    return empty_sequence(inputs.u), empty_starts(inputs, chunk)


@scan_backward.register_fake
def _scan_backward_fake(grad_y: Tensor, starts: Tensor, *arguments: Any) -> list[Tensor]:
    inputs = ScanInputs(*arguments[:-1])
    return [_empty_grad(inputs, tensor) for tensor in inputs.tensors()]


def _empty_grad(inputs: ScanInputs, tensor: Tensor | None) -> Tensor:
    if tensor is None:
        return inputs.u.new_empty(0)
    if tensor.shape == inputs.u.shape:
        return empty_sequence(tensor)
    return tensor.new_empty(tensor.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1], *inputs[:NUM_TENSORS])
    ctx.settings = inputs[NUM_TENSORS:]
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, grad_y: Tensor | None, grad_starts: Tensor | None) -> tuple[Any, ...]:
    nothing = (None,) * len(ctx.settings)
    if grad_y is None:
        return (None,) * NUM_TENSORS + nothing
    starts, *tensors = ctx.saved_tensors
    grads = scan_backward(grad_y, starts, *tensors, *ctx.settings)
    return (
        *(None if tensor is None else grad for grad, tensor in zip(grads, tensors, strict=True)),
        *nothing,
    )


scan.register_autograd(_differentiate, setup_context=_save)
for _device in ("cpu", "cuda"):
    scan.register_autocast(_device, torch.float32)
