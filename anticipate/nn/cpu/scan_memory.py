"""Scratch memory that one thread of the CPU scan needs, as addresses or as sizes.

States come in groups of `STATES`, which make a wide vector; the last group is filled up with states
that stay zero.
"""

from typing import NamedTuple

from anticipate.nn.cpu.lanes import LANES, STATES
from anticipate.nn.scan.inputs import CHUNK

VECTORS = 8
"""More save sums over lanes, fewer leave more items to share: 128 channels are one item."""


def padded(d_state: int) -> int:
    """Return the number of states in whole groups."""
    return -(-d_state // STATES) * STATES


class ForwardScratch(NamedTuple):
    """Addresses of one thread's memory, or the sizes of its parts in vectors.

    N states in whole groups, T steps of a chunk.
    """

    rate: int
    """A log2(e), (N)."""
    state: int
    """(N)."""
    dt: int
    """(T)."""
    inflow: int
    """dt u, (T)."""
    out: int
    """(T)."""
    B: int
    """Numbers (T, N)."""
    C: int
    """Numbers (T, N)."""
    spare: int
    """A vector on its way between memory and registers."""

    @classmethod
    def sizes(cls, d_state: int) -> "ForwardScratch":
        """Return the sizes for `d_state` states."""
        N = padded(d_state)
        numbers = -(-CHUNK * N // LANES)
        return cls(N, N, CHUNK, CHUNK, CHUNK, numbers, numbers, 1)


class BackwardScratch(NamedTuple):
    """Addresses of one thread's memory, or the sizes of its parts in vectors.

    G groups of states, V vectors of channels, T steps of a chunk.
    """

    rate: int
    """A log2(e), (G, V, STATES)."""
    carry: int
    """Gradient of the state that reaches a step from the later ones, (G, V, STATES)."""
    A_sum: int
    """(G, V, STATES)."""
    state: int
    """(G, V, STATES)."""
    D_sum: int
    """(V)."""
    bias_sum: int
    """(V)."""
    grad_exponent: int
    """Gradient of dt through the decay, over ln(2), (V)."""
    grad_inflow: int
    """Gradient of dt u, (V)."""
    spare: int
    """A vector on its way between memory and registers."""
    B: int
    """Numbers (T, N)."""
    C: int
    """Numbers (T, N)."""
    u: int
    """(T, V)."""
    dt: int
    """(T, V)."""
    slope: int
    """Derivative of dt by delta, (T, V)."""
    out: int
    """What the gate meets, (T, V)."""
    grad_y: int
    """Gradient of C h, (T, V)."""
    decay: int
    """(T, G, V, STATES)."""
    before: int
    """State before the step, (T, G, V, STATES)."""

    @classmethod
    def sizes(cls, d_state: int) -> "BackwardScratch":
        """Return the sizes for `d_state` states."""
        N = padded(d_state)
        numbers = -(-CHUNK * N // LANES)
        states, steps = (VECTORS * N,) * 4, (CHUNK * VECTORS,) * 5
        kept = (CHUNK * VECTORS * N,) * 2
        return cls(*states, *(VECTORS,) * 4, 1, numbers, numbers, *steps, *kept)
