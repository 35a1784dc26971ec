"""The selective scan by Triton kernels, on GPUs or in Triton's interpreter (TRITON_INTERPRET=1)."""

from typing import Any

import triton
from torch import Tensor

from anticipate.nn.scan.inputs import CHUNK, ScanInputs, empty_sequence, empty_starts
from anticipate.nn.scan.triton_kernels import backward_kernel, forward_kernel

BACKEND = {"devices": ("cuda",), "package": "triton", "install": "triton", "rank": 1}

TILE = 256
"""Channels times states of a program: few enough for one warp's registers."""


def forward(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    """Run the recurrence.

    Args:
        inputs: Checked arguments; computed in float32.

    Returns:
        y (batch, d_inner, length) in the dtype of `u`, and the states that `backward` starts from.
    """
    y, starts = empty_sequence(inputs.u), empty_starts(inputs)
    sizes, options = _sizes(inputs)
    forward_kernel[_grid(inputs)](
        *_arguments(inputs), _strided(y), _kept(starts), *sizes, **options
    )
    return y, starts


def backward(grad_y: Tensor, starts: Tensor, inputs: ScanInputs) -> list[Tensor | None]:
    """Differentiate the recurrence.

    Args:
        grad_y: Gradient of y, (batch, d_inner, length).
        starts: Second result of `forward`.
        inputs: Arguments of `forward`.

    Returns:
        Gradients of `inputs.tensors()` in their dtypes.
    """
    (batch, d_inner, length), d_state = inputs.u.shape, inputs.B.shape[1]
    grid = _grid(inputs)
    history = starts.new_empty(CHUNK, *starts.shape[1:])
    u, delta, z = (empty_sequence(inputs.u) for _ in range(3))
    A = starts.new_empty(batch, d_inner, d_state)
    B, C = (starts.new_empty(batch, grid[1] * d_state, length) for _ in range(2))
    D, delta_bias = (starts.new_empty(batch, d_inner) for _ in range(2))
    sizes, options = _sizes(inputs)
    backward_kernel[grid](
        *_arguments(inputs), _strided(grad_y), _kept(starts), _kept(history),
        _strided(u), _strided(delta), _strided(A), _strided(B), _strided(C), D, _strided(z),
        delta_bias,
        *sizes, **options,
    )  # fmt: skip
    A = A.sum(0) if inputs.A.ndim == 2 else A
    B, C = (x.unflatten(1, (grid[1], d_state)).sum(1) for x in (B, C))
    grads = [u, delta, A, B, C, D.sum(0), z, delta_bias.sum(0)]
    return [
        None if tensor is None else grad.to(tensor.dtype)
        for grad, tensor in zip(grads, inputs.tensors(), strict=True)
    ]


def _sizes(inputs: ScanInputs) -> tuple[tuple[int, ...], dict[str, Any]]:
    d_inner, length = inputs.u.shape[1:]
    d_state = inputs.B.shape[1]
    states = triton.next_power_of_2(d_state)
    options = {
        "SOFTPLUS": inputs.delta_softplus,
        "REVERSE": inputs.reverse,
        "CHUNK": CHUNK,
        "CHANNELS": _channels(d_state),
        "STATES": states,
        "num_warps": 1,
    }
    return (d_inner, d_state, length), options


def _channels(d_state: int) -> int:
    """Return how many channels a program takes."""
    return max(1, TILE // triton.next_power_of_2(d_state))


def _grid(inputs: ScanInputs) -> tuple[int, int]:
    batch, d_inner, _ = inputs.u.shape
    return batch, triton.cdiv(d_inner, _channels(inputs.B.shape[1]))


def _arguments(inputs: ScanInputs) -> list[Any]:
    A = inputs.A.expand(inputs.u.shape[0], *inputs.A.shape[-2:])
    sequences = [_strided(x) for x in (inputs.u, inputs.delta, A, inputs.B, inputs.C)]
    z = None if inputs.z is None else _strided(inputs.z)
    D, delta_bias = (None if x is None else x.contiguous() for x in (inputs.D, inputs.delta_bias))
    return [*sequences, D, z, delta_bias]


def _strided(x: Tensor) -> tuple[Any, ...]:
    """Return pointer and strides of a tensor with three axes."""
    return (x, *x.stride())


def _kept(x: Tensor) -> tuple[Any, ...]:
    """Return pointer and strides of states (chunks, batch, d_state, d_inner)."""
    return (x, x.stride(1), 1, x.stride(0))
