"""The selective scan by Triton kernels, on GPUs or in Triton's interpreter (TRITON_INTERPRET=1)."""

from subprocess import CalledProcessError
from typing import Any, NamedTuple

import triton
from torch import Tensor
from triton.errors import TritonError

from anticipate.nn.scan.backends import UnusableError
from anticipate.nn.scan.inputs import ScanInputs, empty_sequence, empty_starts
from anticipate.nn.scan.triton_kernels import backward_kernel, forward_kernel

BACKEND = {
    "devices": ("cuda",),
    "package": "triton",
    "install": "triton",
    "rank": 1,
    "capability": (7, 0),
}


class Block(NamedTuple):
    """What a program holds in its registers at once."""

    tokens: int
    tile: int
    """Channels times states."""


FORWARD, BACKWARD = Block(16, 128), Block(8, 64)
"""The largest blocks that leave room in the registers of a warp, and no more programs than that."""

CHUNK = BACKWARD.tokens
"""Tokens between two states that forward keeps: backward reads one per block."""


def forward(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    """Run the recurrence.

    Args:
        inputs: Checked arguments; computed in float32.

    Returns:
        y (batch, d_inner, length) in the dtype of `u`, and the states that `backward` starts from.

    Raises:
        UnusableError: The kernel cannot be compiled or started here.
    """
    y, starts = empty_sequence(inputs.u), empty_starts(inputs, CHUNK)
    try:
        forward_kernel[_grid(inputs, FORWARD)](
            *_arguments(inputs), _strided(y), _kept(starts), *_sizes(inputs),
            CHUNK=CHUNK, **options(inputs, FORWARD), num_warps=1,
        )  # fmt: skip
    except (TritonError, CalledProcessError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UnusableError(f"{type(error).__name__}: {reason}") from error
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
    grid = _grid(inputs, BACKWARD)
    u, delta, z = (empty_sequence(inputs.u) for _ in range(3))
    A = starts.new_empty(batch, d_inner, d_state)
    B, C = (starts.new_empty(grid[1], batch, length, d_state) for _ in range(2))
    D, delta_bias = (starts.new_empty(batch, d_inner) for _ in range(2))
    backward_kernel[grid](
        *_arguments(inputs), _strided(grad_y), _kept(starts),
        _strided(u), _strided(delta), _strided(A), _partial(B), _partial(C), D, _strided(z),
        delta_bias, *_sizes(inputs), **options(inputs, BACKWARD), num_warps=1,
    )  # fmt: skip
    A = A.sum(0) if inputs.A.ndim == 2 else A
    grads = [u, delta, A, B.sum(0).mT, C.sum(0).mT, D.sum(0), z, delta_bias.sum(0)]
    return [
        None if tensor is None else grad.to(tensor.dtype)
        for grad, tensor in zip(grads, inputs.tensors(), strict=True)
    ]


def options(inputs: ScanInputs, block: Block) -> dict[str, Any]:
    """Return what a kernel is compiled for."""
    return {
        "SOFTPLUS": inputs.delta_softplus,
        "REVERSE": inputs.reverse,
        "TOKENS": block.tokens,
        "CHANNELS": _channels(inputs, block),
        "STATES": triton.next_power_of_2(inputs.B.shape[1]),
    }


def _channels(inputs: ScanInputs, block: Block) -> int:
    """Return how many channels a program takes."""
    return max(1, block.tile // triton.next_power_of_2(inputs.B.shape[1]))


def _grid(inputs: ScanInputs, block: Block) -> tuple[int, int]:
    batch, d_inner, _ = inputs.u.shape
    return batch, triton.cdiv(d_inner, _channels(inputs, block))


def _sizes(inputs: ScanInputs) -> tuple[int, int, int]:
    return inputs.u.shape[1], inputs.B.shape[1], inputs.u.shape[2]


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


def _partial(x: Tensor) -> tuple[Any, ...]:
    """Return pointer and strides of sums over some channels (blocks, batch, length, d_state)."""
    return (x, x.stride(1), x.stride(3), x.stride(2), x.stride(0))
