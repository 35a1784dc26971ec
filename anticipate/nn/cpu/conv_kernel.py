"""The convolution with SiLU on the CPU."""

from typing import NamedTuple, no_type_check

from torch import Tensor

from anticipate.nn.cpu.groups import Rows, at, rows, run_groups, span, trimmed, whole
from anticipate.nn.cpu.lanes import (
    LANES,
    ONE,
    Vector,
    get,
    inline,
    inline_once,
    load,
    sigmoid,
    store,
)
from anticipate.nn.cpu.team import ARGUMENTS, Kernel, reader, take


class _Call(NamedTuple):
    """What forward and backward have in common."""

    x: Rows
    taps: Rows
    """(d_conv, d_inner)."""
    bias: Rows
    mask: Rows
    """(batch, tokens, 1)."""
    tokens: int
    d_inner: int
    """Of whole vectors."""
    d_conv: int
    reverse: bool


class _Grads(NamedTuple):
    """Gradient of y, and where the other gradients go."""

    y: Rows
    x: Rows
    taps: Rows
    """Per sample (batch, d_conv, d_inner), zeros at first."""
    bias: Rows
    """Per sample (batch, 1, d_inner), zeros at first."""


class _ForwardWork(NamedTuple):
    call: _Call
    y: Rows


class _BackwardWork(NamedTuple):
    call: _Call
    grads: _Grads


_read_forward, _read_backward = reader(_ForwardWork), reader(_BackwardWork)


def forward(x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, reverse: bool) -> Tensor:
    """Return SiLU(conv(x)) * mask, computed in float32, in the dtype of `x`."""
    inputs = _wholes(x, weight, bias, mask)
    y = inputs[0].new_empty(inputs[0].shape)
    run_groups(_forward, y.shape, _ForwardWork(_call(*inputs, reverse), rows(y)))
    return trimmed(y, x)


def backward(
    grad_y: Tensor, x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of `x`, `weight` and `bias` in their dtypes."""
    inputs = _wholes(x, weight, bias, mask)
    batch, _, d_inner = inputs[0].shape
    grad_y, grad_x = whole(grad_y), inputs[0].new_empty(inputs[0].shape)
    taps = grad_x.new_zeros(batch, weight.shape[1], d_inner)
    offset = grad_x.new_zeros(batch, 1, d_inner)
    grads = _Grads(rows(grad_y), rows(grad_x), rows(taps), rows(offset))
    run_groups(_backward, grad_x.shape, _BackwardWork(_call(*inputs, reverse), grads))
    grad_weight = trimmed(taps.sum(0), weight.T).T.contiguous()
    return trimmed(grad_x, x), grad_weight, trimmed(offset.sum((0, 1)), bias)


def _wholes(
    x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return whole vectors; a mask has none, it is a number for each token."""
    return whole(x), whole(weight.T), whole(bias), mask.float().unsqueeze(-1)


def _call(x: Tensor, taps: Tensor, bias: Tensor, mask: Tensor, reverse: bool) -> _Call:
    """Return addresses that are good as long as the tensors live."""
    return _Call(
        rows(x), rows(taps), rows(bias), rows(mask), x.shape[1], x.shape[2], len(taps), reverse
    )


@Kernel
@no_type_check
def _forward(team: int) -> None:
    """Run items until none is left."""
    call, y = _read_forward(team + ARGUMENTS)
    first, last = take(team)
    while first < last:
        for item in range(first, last):
            _convolve_item(call, y, item)
        first, last = take(team)


@Kernel
@no_type_check
def _backward(team: int) -> None:
    """Run items until none is left."""
    call, grads = _read_backward(team + ARGUMENTS)
    first, last = take(team)
    while first < last:
        for item in range(first, last):
            _differentiate_item(call, grads, item)
        first, last = take(team)


@inline_once
@no_type_check
def _convolve_item(call: _Call, y: Rows, item: int) -> None:
    b, start, end = span(item, call.d_inner)
    for token in range(call.tokens):
        factor = get(call.mask.address, at(call.mask, b, token, 0))
        for c in range(start, end, LANES):
            a = _convolve(call, b, token, c)
            store(y.address, at(y, b, token, c), a * sigmoid(a) * factor)


@inline_once
@no_type_check
def _differentiate_item(call: _Call, grads: _Grads, item: int) -> None:
    b, start, end = span(item, call.d_inner)
    for step in range(call.tokens):
        token = call.tokens - 1 - step if call.reverse else step
        factor = get(call.mask.address, at(call.mask, b, token, 0))
        for c in range(start, end, LANES):
            a = _convolve(call, b, token, c)
            gate = sigmoid(a)
            grad = load(grads.y.address, at(grads.y, b, token, c)) * factor
            _scatter(call, grads, b, token, c, grad * gate * (ONE + a * (ONE - gate)))


@inline
@no_type_check
def _reach(call: _Call, token: int) -> int:
    """Return how many taps meet a token of the sequence."""
    return min(call.d_conv, call.tokens - token if call.reverse else token + 1)


@inline
@no_type_check
def _source(call: _Call, token: int, back: int) -> int:
    """Return the token that a tap meets; taps are counted from the last one."""
    return token + back if call.reverse else token - back


@inline
@no_type_check
def _convolve(call: _Call, b: int, token: int, c: int) -> Vector:
    """Return the convolution before SiLU."""
    # The present token apart: processors foresee loads that walk straight through memory.
    tap = load(call.taps.address, at(call.taps, 0, call.d_conv - 1, c))
    total = load(call.bias.address, c) + tap * load(call.x.address, at(call.x, b, token, c))
    for back in range(1, _reach(call, token)):
        tap = load(call.taps.address, at(call.taps, 0, call.d_conv - 1 - back, c))
        x = load(call.x.address, at(call.x, b, _source(call, token, back), c))
        total = total + tap * x
    return total


@inline_once
@no_type_check
def _scatter(call: _Call, grads: _Grads, b: int, token: int, c: int, grad: Vector) -> None:
    """Add one token's share to the gradients.

    Tokens come in the order in which the convolution runs, so a token is the first to add to its
    own gradient of x.
    """
    _add(grads.bias, at(grads.bias, b, 0, c), grad)
    for back in range(_reach(call, token)):
        source, index = _source(call, token, back), call.d_conv - 1 - back
        share = grad * load(call.taps.address, at(call.taps, 0, index, c))
        if back == 0:
            store(grads.x.address, at(grads.x, b, source, c), share)
        else:
            _add(grads.x, at(grads.x, b, source, c), share)
        x = load(call.x.address, at(call.x, b, source, c))
        _add(grads.taps, at(grads.taps, b, index, c), grad * x)


@inline
@no_type_check
def _add(x: Rows, index: int, value: Vector) -> None:
    """Add a vector to the one that starts at a number of `x`."""
    store(x.address, index, load(x.address, index) + value)
