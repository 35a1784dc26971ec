"""The gated sum on the CPU."""

from typing import NamedTuple, no_type_check

from torch import Tensor

from anticipate.nn.cpu.groups import Rows, at, rows, run_groups, span, trimmed, whole
from anticipate.nn.cpu.lanes import LANES, ONE, Vector, inline, inline_once, load, sigmoid, store
from anticipate.nn.cpu.team import ARGUMENTS, Kernel, reader, take


class _Call(NamedTuple):
    """What forward and backward have in common."""

    y_forward: Rows
    y_backward: Rows
    z: Rows
    tokens: int
    d_inner: int
    """Of whole vectors."""


def forward(y_forward: Tensor, y_backward: Tensor, z: Tensor) -> Tensor:
    """Return the gated sum, computed in float32, in the dtype of `z`."""
    inputs = (whole(y_forward), whole(y_backward), whole(z))
    y = inputs[2].new_empty(inputs[2].shape)
    run_groups(_forward, y.shape, _ForwardWork(_call(*inputs), rows(y)))
    return trimmed(y, z)


def backward(
    grad_y: Tensor, y_forward: Tensor, y_backward: Tensor, z: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of either summand and of `z`, in the dtype of `z`."""
    grad_y, *inputs = (whole(x) for x in (grad_y, y_forward, y_backward, z))
    grad_sum, grad_z = (inputs[2].new_empty(inputs[2].shape) for _ in range(2))
    grads = (rows(grad_y), rows(grad_sum), rows(grad_z))
    run_groups(_backward, grad_z.shape, _BackwardWork(_call(*inputs), *grads))
    return trimmed(grad_sum, z), trimmed(grad_z, z)


def _call(y_forward: Tensor, y_backward: Tensor, z: Tensor) -> _Call:
    """Return addresses that are good as long as the tensors live."""
    return _Call(rows(y_forward), rows(y_backward), rows(z), z.shape[1], z.shape[2])


class _ForwardWork(NamedTuple):
    call: _Call
    y: Rows


class _BackwardWork(NamedTuple):
    call: _Call
    grad_y: Rows
    grad_sum: Rows
    grad_z: Rows


_read_forward, _read_backward = reader(_ForwardWork), reader(_BackwardWork)


@Kernel
@no_type_check
def _forward(team: int) -> None:
    """Run items until none is left."""
    call, y = _read_forward(team + ARGUMENTS)
    first, last = take(team)
    while first < last:
        for item in range(first, last):
            _add_item(call, y, item)
        first, last = take(team)


@Kernel
@no_type_check
def _backward(team: int) -> None:
    """Run items until none is left."""
    call, grad_y, grad_sum, grad_z = _read_backward(team + ARGUMENTS)
    first, last = take(team)
    while first < last:
        for item in range(first, last):
            _differentiate_item(call, grad_y, grad_sum, grad_z, item)
        first, last = take(team)


@inline_once
@no_type_check
def _add_item(call: _Call, y: Rows, item: int) -> None:
    b, start, end = span(item, call.d_inner)
    for token in range(call.tokens):
        for c in range(start, end, LANES):
            z = load(call.z.address, at(call.z, b, token, c))
            out = _sum(call, b, token, c) * z * sigmoid(z)
            store(y.address, at(y, b, token, c), out)


@inline_once
@no_type_check
def _differentiate_item(call: _Call, grad_y: Rows, grad_sum: Rows, grad_z: Rows, item: int) -> None:
    b, start, end = span(item, call.d_inner)
    for token in range(call.tokens):
        for c in range(start, end, LANES):
            z = load(call.z.address, at(call.z, b, token, c))
            gate = sigmoid(z)
            grad = load(grad_y.address, at(grad_y, b, token, c)) * gate
            store(grad_sum.address, at(grad_sum, b, token, c), grad * z)
            grad = grad * _sum(call, b, token, c) * (ONE + z * (ONE - gate))
            store(grad_z.address, at(grad_z, b, token, c), grad)


@inline
@no_type_check
def _sum(call: _Call, b: int, token: int, c: int) -> Vector:
    """Return both directions together."""
    first = load(call.y_forward.address, at(call.y_forward, b, token, c))
    return first + load(call.y_backward.address, at(call.y_backward, b, token, c))
