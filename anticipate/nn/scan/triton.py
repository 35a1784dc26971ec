"""The selective scan by Triton kernels, on GPUs or in Triton's interpreter (TRITON_INTERPRET=1)."""

from collections.abc import Sequence
from subprocess import CalledProcessError
from typing import Any, NamedTuple

import triton
from torch import Tensor
from triton.errors import TritonError

from anticipate.console import notice
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


class _Partials(NamedTuple):
    """Gradients of `ScanInputs` per sample, those of B and C also per group of channels."""

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    z: Tensor
    delta_bias: Tensor


class Block(NamedTuple):
    """What a program holds in its registers at once."""

    tokens: int
    tile: int
    """Channels times states."""


FORWARD, BACKWARD = Block(16, 128), Block(8, 64)
"""The largest blocks that leave room in the registers of a warp, and no more programs than that."""

_obstacles: list[str] = []
"""Why two scans cannot go together on this machine, where that has turned out."""

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
    return forward_together([inputs])[0]


def backward(grad_y: Tensor, starts: Tensor, inputs: ScanInputs) -> list[Tensor | None]:
    """Differentiate the recurrence.

    Args:
        grad_y: Gradient of y, (batch, d_inner, length).
        starts: Second result of `forward`.
        inputs: Arguments of `forward`.

    Returns:
        Gradients of `inputs.tensors()` in their dtypes.
    """
    return backward_together([grad_y], [starts], [inputs])[0]


def forward_together(scans: Sequence[ScanInputs]) -> list[tuple[Tensor, Tensor]]:
    """Run scans of equal sizes: two of opposite directions in one launch.

    Args:
        scans: As in `forward`.

    Raises:
        UnusableError: The kernel cannot be compiled or started here.
    """
    results = [(empty_sequence(x.u), empty_starts(x, CHUNK)) for x in scans]
    arguments = [
        (*_arguments(x), _strided(y), _kept(starts))
        for x, (y, starts) in zip(scans, results, strict=True)
    ]
    try:
        _launch(forward_kernel, scans, arguments, FORWARD, CHUNK=CHUNK)
    except (TritonError, CalledProcessError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        if len(scans) == 1:
            raise UnusableError(reason) from error
        _obstacles.append(reason)
        notice(f"the two scans of a layer run one after the other: together they failed ({reason})")
        return [forward(x) for x in scans]
    return results


def backward_together(
    grads_y: Sequence[Tensor], starts: Sequence[Tensor], scans: Sequence[ScanInputs]
) -> list[list[Tensor | None]]:
    """Differentiate scans of equal sizes: two of opposite directions in one launch.

    Args:
        grads_y: As in `backward`, for each scan.
        starts: Likewise.
        scans: Likewise.
    """
    partial = [_empty_partials(x) for x in scans]
    arguments = [
        (*_arguments(x), _strided(grad_y), _kept(start), *_partial_arguments(grads))
        for x, grad_y, start, grads in zip(scans, grads_y, starts, partial, strict=True)
    ]
    _launch(backward_kernel, scans, arguments, BACKWARD)
    return [_summed(grads, x) for grads, x in zip(partial, scans, strict=True)]


def _launch(
    kernel: Any,
    scans: Sequence[ScanInputs],
    arguments: Sequence[tuple[Any, ...]],
    block: Block,
    **settings: int,
) -> None:
    first = scans[0]
    (batch, d_inner, length), d_state = first.u.shape, first.B.shape[1]
    grid = (batch, triton.cdiv(d_inner, channels(d_state, block)), len(scans))
    kernel[grid](
        arguments[0], arguments[-1], d_inner, d_state, length,
        **options(first, block, len(scans) > 1), **settings, num_warps=1,
    )  # fmt: skip


def can_go_together(one: ScanInputs, other: ScanInputs) -> bool:
    """Return whether two scans fit into one launch.

    Args:
        one: A scan.
        other: Another one.
    """
    alike = one.u.shape == other.u.shape and one.B.shape == other.B.shape and not _obstacles
    return alike and one.delta_softplus == other.delta_softplus and one.reverse != other.reverse


def options(inputs: ScanInputs, block: Block, pair: bool = False) -> dict[str, Any]:
    """Return what a kernel is compiled for.

    Args:
        inputs: A scan.
        block: What a program holds.
        pair: Whether another scan runs with it.
    """
    d_state = inputs.B.shape[1]
    return {
        "PAIR": pair,
        "SOFTPLUS": inputs.delta_softplus,
        "REVERSE": inputs.reverse,
        "TOKENS": block.tokens,
        "CHANNELS": channels(d_state, block),
        "STATES": triton.next_power_of_2(d_state),
    }


def channels(d_state: int, block: Block) -> int:
    """Return how many channels a program takes.

    Args:
        d_state: States per channel.
        block: What a program holds.
    """
    return max(1, block.tile // triton.next_power_of_2(d_state))


def _empty_partials(inputs: ScanInputs) -> _Partials:
    (batch, d_inner, length), d_state = inputs.u.shape, inputs.B.shape[1]
    groups = triton.cdiv(d_inner, channels(d_state, BACKWARD))
    like = empty_starts(inputs, CHUNK)
    u, delta, z = (empty_sequence(inputs.u) for _ in range(3))
    A = like.new_empty(batch, d_inner, d_state)
    B, C = (like.new_empty(groups, batch, length, d_state) for _ in range(2))
    D, delta_bias = (like.new_empty(batch, d_inner) for _ in range(2))
    return _Partials(u, delta, A, B, C, D, z, delta_bias)


def _partial_arguments(grads: _Partials) -> list[Any]:
    u, delta, A, B, C, D, z, delta_bias = grads
    sequences, states = map(_strided, (u, delta, A)), map(_partial, (B, C))
    return [*sequences, *states, D, _strided(z), delta_bias]


def _summed(partial: _Partials, inputs: ScanInputs) -> list[Tensor | None]:
    """Add partial gradients up to those of the inputs."""
    u, delta, A, B, C, D, z, delta_bias = partial
    A = A.sum(0) if inputs.A.ndim == 2 else A
    grads = [u, delta, A, B.sum(0).mT, C.sum(0).mT, D.sum(0), z, delta_bias.sum(0)]
    return [
        None if tensor is None else grad.to(tensor.dtype)
        for grad, tensor in zip(grads, inputs.tensors(), strict=True)
    ]


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
