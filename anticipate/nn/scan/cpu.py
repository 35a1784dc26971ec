"""The selective scan on the CPU: the fused kernels of `anticipate.nn.cpu`, on torch's threads."""

from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from anticipate.nn.cpu.lanes import LANES
from anticipate.nn.cpu.scan_backward import BackwardWork
from anticipate.nn.cpu.scan_backward import backward as backward_kernel
from anticipate.nn.cpu.scan_blocks import FLOAT, Call, Grads, Strided
from anticipate.nn.cpu.scan_forward import ForwardWork
from anticipate.nn.cpu.scan_forward import forward as forward_kernel
from anticipate.nn.cpu.scan_memory import VECTORS, BackwardScratch, ForwardScratch, padded
from anticipate.nn.cpu.team import launch, team_size
from anticipate.nn.scan.inputs import ScanInputs, empty_sequence, empty_starts

BACKEND = {"devices": ("cpu",), "package": "numba", "install": "numba", "rank": 1}


class _Completed(NamedTuple):
    """The tensors of a scan, none absent."""

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    z: Tensor
    delta_bias: Tensor


def forward(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    """Run the recurrence.

    Args:
        inputs: Checked arguments on the CPU; computed in float32.

    Returns:
        y (batch, d_inner, length) in the dtype of `u`, and the states that `backward` starts from.
    """
    x = _completed(inputs)
    y, starts = empty_sequence(x.u), empty_starts(inputs)
    call = _call(inputs, x, starts)
    items = call.batch * -(-call.d_inner // LANES)
    scratch = _scratch(items, ForwardScratch.sizes(call.d_state))
    launch(forward_kernel, items, ForwardWork(call, _sequence(y)), scratch)
    return y.to(inputs.u.dtype), starts


def backward(grad_y: Tensor, starts: Tensor, inputs: ScanInputs) -> list[Tensor | None]:
    """Differentiate the recurrence.

    Args:
        grad_y: Gradient of y, (batch, d_inner, length).
        starts: Second result of `forward`.
        inputs: Arguments of `forward`.

    Returns:
        Gradients of `inputs.tensors()` in their dtypes.
    """
    x = _completed(inputs)
    grad_y = grad_y.float()
    call = _call(inputs, x, starts)
    groups = -(-call.d_inner // (VECTORS * LANES))
    partial = _empty_partials(x, groups)
    grads = Grads(
        y=_sequence(grad_y),
        u=_sequence(partial.u),
        delta=_sequence(partial.delta),
        A=_transition(partial.A),
        B=_grouped(partial.B),
        C=_grouped(partial.C),
        D=_channels(partial.D),
        z=_sequence(partial.z),
        delta_bias=_channels(partial.delta_bias),
    )
    scratch = _scratch(call.batch * groups, BackwardScratch.sizes(call.d_state))
    launch(backward_kernel, call.batch * groups, BackwardWork(call, grads), scratch)
    return _summed(partial, inputs)


def _completed(inputs: ScanInputs) -> _Completed:
    """Return float32 inputs with zeros for absent vectors, and anything for an absent gate."""
    u, delta, A, B, C = (tensor.float() for tensor in inputs[:5])
    zeros = u.new_zeros(u.shape[1])
    D, z, delta_bias = (
        default if tensor is None else tensor.float()
        for tensor, default in zip(inputs[5:8], (zeros, u, zeros), strict=True)
    )
    return _Completed(u, delta, A, B, C, D, z, delta_bias)


def _call(inputs: ScanInputs, x: _Completed, starts: Tensor) -> Call:
    """Return addresses that are good as long as `x` and `starts` live."""
    chunk, batch, state, channel = starts.stride()
    return Call(
        u=_sequence(x.u),
        delta=_sequence(x.delta),
        A=_transition(x.A),
        B=_states(x.B),
        C=_states(x.C),
        D=_channels(x.D),
        z=_sequence(x.z),
        delta_bias=_channels(x.delta_bias),
        starts=Strided(starts.data_ptr(), batch, chunk, channel, state),
        batch=x.u.shape[0],
        d_inner=x.u.shape[1],
        d_state=x.B.shape[1],
        length=x.u.shape[2],
        delta_softplus=inputs.delta_softplus,
        gated=inputs.z is not None,
        reverse=inputs.reverse,
    )


def _empty_partials(x: _Completed, groups: int) -> _Completed:
    """Return memory for gradients per sample, those of B and C also per group of channels."""
    (batch, d_inner, length), d_state = x.u.shape, x.B.shape[1]
    states = (groups, batch, length, padded(d_state))
    return _Completed(
        u=empty_sequence(x.u),
        delta=empty_sequence(x.u),
        A=x.u.new_empty(batch, d_inner, d_state),
        B=x.u.new_empty(states),
        C=x.u.new_empty(states),
        D=x.u.new_empty(batch, d_inner),
        z=empty_sequence(x.u),
        delta_bias=x.u.new_empty(batch, d_inner),
    )


def _summed(partial: _Completed, inputs: ScanInputs) -> list[Tensor | None]:
    """Add partial gradients up to those of the inputs."""
    d_state = inputs.B.shape[1]
    total = partial._replace(
        A=partial.A.sum(0) if inputs.A.ndim == 2 else partial.A,
        B=partial.B.sum(0).mT[:, :d_state],
        C=partial.C.sum(0).mT[:, :d_state],
        D=partial.D.sum(0),
        delta_bias=partial.delta_bias.sum(0),
    )
    return [
        None if tensor is None else grad.to(tensor.dtype)
        for grad, tensor in zip(total, inputs.tensors(), strict=True)
    ]


def _sequence(x: Tensor) -> Strided:
    batch, channel, token = x.stride()
    return Strided(x.data_ptr(), batch, token, channel)


def _states(x: Tensor) -> Strided:
    batch, state, token = x.stride()
    return Strided(x.data_ptr(), batch, token, state=state)


def _grouped(x: Tensor) -> Strided:
    group, batch, token, state = x.stride()
    return Strided(x.data_ptr(), batch, token, group, state)


def _transition(A: Tensor) -> Strided:
    batch = A.stride(0) if A.ndim == 3 else 0
    return Strided(A.data_ptr(), batch, channel=A.stride(-2), state=A.stride(-1))


def _channels(x: Tensor) -> Strided:
    batch = x.stride(0) if x.ndim == 2 else 0
    return Strided(x.data_ptr(), batch, channel=x.stride(-1))


def _scratch(
    items: int, sizes: ForwardScratch | BackwardScratch
) -> Callable[[int], ForwardScratch | BackwardScratch]:
    """Return scratch memory as addresses for each thread."""
    *starts, end = accumulate((size * LANES * FLOAT for size in sizes), initial=0)
    memory = torch.empty(team_size(items), end, dtype=torch.uint8)
    return lambda thread: type(sizes)(*(memory[thread].data_ptr() + start for start in starts))
