"""Scratch memory that one thread of the CPU scan needs, as addresses or as sizes."""

from typing import NamedTuple

from anticipate.nn.scan.inputs import CHUNK

VECTORS = 8
"""More save sums over lanes, fewer leave more items to share: 128 channels are one item."""


class ForwardScratch(NamedTuple):
    """Addresses of one thread's memory, or the sizes of its parts in vectors."""

    rate: int
    """A log2(e), one vector per state."""
    state: int
    spare: int
    """A vector on its way between memory and registers."""

    @classmethod
    def sizes(cls, d_state: int) -> "ForwardScratch":
        """Return the sizes for `d_state` states."""
        return cls(rate=d_state, state=d_state, spare=1)


class BackwardScratch(NamedTuple):
    """Addresses of one thread's memory, or the sizes of its parts in vectors.

    N states, V vectors of channels, T steps of a chunk.
    """

    rate: int
    """A log2(e), (V, N)."""
    carry: int
    """Gradient of the state that reaches a step from the later ones, (V, N)."""
    A_sum: int
    """(V, N)."""
    D_sum: int
    """(V)."""
    bias_sum: int
    """(V)."""
    B_sum: int
    """Gradient of one token's B before its lanes are added up, (N)."""
    C_sum: int
    """(N)."""
    state: int
    """(N)."""
    spare: int
    """A vector on its way between memory and registers."""
    u: int
    """(T, V)."""
    dt: int
    """(T, V)."""
    slope: int
    """Derivative of dt by delta, (T, V)."""
    grad_y: int
    """Gradient of C h, (T, V)."""
    decay: int
    """(T, V, N)."""
    before: int
    """State before the step, (T, V, N)."""

    @classmethod
    def sizes(cls, d_state: int) -> "BackwardScratch":
        """Return the sizes for `d_state` states."""
        groups = (VECTORS * d_state,) * 3 + (VECTORS,) * 2
        steps = (CHUNK * VECTORS,) * 4 + (CHUNK * VECTORS * d_state,) * 2
        return cls(*groups, *(d_state,) * 3, 1, *steps)
