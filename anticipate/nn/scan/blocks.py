"""What the CPU kernels receive, and how they read and write one vector of channels.

Tensors arrive as addresses with strides, so one compiled version serves every memory layout, and
contiguous channels move as vectors. Work is cut into items that no two threads share.
"""

from typing import NamedTuple, no_type_check

from anticipate.nn.kernels.lanes import LANES, ZERO, Vector, fill, get, inline, load, put, store

FLOAT = 4
"""Bytes of a float32."""


class Strided(NamedTuple):
    """A float32 tensor: address, and how many numbers further the next one along an axis is."""

    address: int
    batch: int = 0
    token: int = 0
    channel: int = 0
    state: int = 0


class Call(NamedTuple):
    """Everything that forward and backward have in common."""

    u: Strided
    delta: Strided
    A: Strided
    B: Strided
    C: Strided
    D: Strided
    z: Strided
    delta_bias: Strided
    starts: Strided
    """State at the start of every chunk of steps; `token` is the stride of chunks."""
    batch: int
    d_inner: int
    d_state: int
    length: int
    delta_softplus: bool
    gated: bool
    reverse: bool


class Grads(NamedTuple):
    """Gradient of y, and where the other gradients go."""

    y: Strided
    u: Strided
    delta: Strided
    A: Strided
    """Per sample (batch, d_inner, d_state)."""
    B: Strided
    """Per group of channels (groups, batch, length, d_state); `channel` is the stride of groups."""
    C: Strided
    D: Strided
    """Per sample (batch, d_inner)."""
    z: Strided
    delta_bias: Strided
    """Per sample (batch, d_inner)."""


@inline
@no_type_check
def fetch(x: Strided, b: int, token: int, c: int, width: int, spare: int) -> Vector:
    """Return `width` channels from `c` on as a vector whose other lanes are zero."""
    first = b * x.batch + token * x.token + c * x.channel
    if x.channel == 1 and width == LANES:
        return load(x.address, first)
    store(spare, 0, fill(ZERO))
    for k in range(width):
        put(spare, k, get(x.address, first + k * x.channel))
    return load(spare, 0)


@inline
@no_type_check
def deposit(x: Strided, b: int, token: int, c: int, width: int, spare: int, value: Vector) -> None:
    """Write the first `width` lanes of `value` to channels from `c` on."""
    first = b * x.batch + token * x.token + c * x.channel
    if x.channel == 1 and width == LANES:
        store(x.address, first, value)
    else:
        store(spare, 0, value)
        for k in range(width):
            put(x.address, first + k * x.channel, get(spare, k))


@inline
@no_type_check
def fetch_states(
    rows: int, x: Strided, b: int, chunk: int, c: int, width: int, d_state: int, spare: int
) -> None:
    """Copy x[b, chunk, c : c + width, :] to `rows`, one vector per state."""
    for n in range(d_state):
        store(rows, n * LANES, fetch(shifted(x, n), b, chunk, c, width, spare))


@inline
@no_type_check
def deposit_states(
    rows: int, x: Strided, b: int, chunk: int, c: int, width: int, d_state: int, spare: int
) -> None:
    """Copy back what `fetch_states` reads."""
    for n in range(d_state):
        deposit(shifted(x, n), b, chunk, c, width, spare, load(rows, n * LANES))


@inline
@no_type_check
def shifted(x: Strided, n: int) -> Strided:
    """Return `x` from state `n` on."""
    return Strided(x.address + n * x.state * FLOAT, x.batch, x.token, x.channel, x.state)
