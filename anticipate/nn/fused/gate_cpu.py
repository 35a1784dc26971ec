"""The gated sum on the CPU."""

from typing import NamedTuple, no_type_check

from torch import Tensor

from anticipate.nn.fused.groups import WIDE, Rows, at, rows, run_groups, trimmed, whole
from anticipate.nn.scan.blocks import kernel
from anticipate.nn.scan.lanes import LANES, ONE, Vector, inline, load, sigmoid, store


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
    run_groups(_forward, y.shape, _call(*inputs), rows(y))
    return trimmed(y, z)


def backward(
    grad_y: Tensor, y_forward: Tensor, y_backward: Tensor, z: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of either summand and of `z`, in the dtype of `z`."""
    grad_y, *inputs = (whole(x) for x in (grad_y, y_forward, y_backward, z))
    grad_sum, grad_z = (inputs[2].new_empty(inputs[2].shape) for _ in range(2))
    grads = (rows(grad_y), rows(grad_sum), rows(grad_z))
    run_groups(_backward, grad_z.shape, _call(*inputs), *grads)
    return trimmed(grad_sum, z), trimmed(grad_z, z)


def _call(y_forward: Tensor, y_backward: Tensor, z: Tensor) -> _Call:
    """Return addresses that are good as long as the tensors live."""
    return _Call(rows(y_forward), rows(y_backward), rows(z), z.shape[1], z.shape[2])


@kernel
@no_type_check
def _forward(call: _Call, y: Rows, groups: int, first: int, last: int) -> None:
    """Run the items `first` to `last` (exclusive)."""
    for item in range(first, last):
        b, start = item // groups, (item % groups) * WIDE
        for token in range(call.tokens):
            for c in range(start, min(start + WIDE, call.d_inner), LANES):
                z = load(call.z.address, at(call.z, b, token, c))
                out = _sum(call, b, token, c) * z * sigmoid(z)
                store(y.address, at(y, b, token, c), out)


@kernel
@no_type_check
def _backward(
    call: _Call,
    grad_y: Rows,
    grad_sum: Rows,
    grad_z: Rows,
    groups: int,
    first: int,
    last: int,
) -> None:
    """Run the items `first` to `last` (exclusive)."""
    for item in range(first, last):
        b, start = item // groups, (item % groups) * WIDE
        for token in range(call.tokens):
            for c in range(start, min(start + WIDE, call.d_inner), LANES):
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
