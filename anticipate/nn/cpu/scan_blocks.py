"""What the CPU kernels receive, and how they read and write one vector of channels.

Tensors arrive as addresses with strides, so one compiled version serves every memory layout, and
contiguous channels move as vectors. Work is cut into items that no two threads share.
"""

from typing import NamedTuple, no_type_check

from anticipate.nn.cpu.lanes import (
    LANES,
    STATES,
    ZERO,
    Vector,
    fill,
    get,
    inline,
    load,
    put,
    store,
)

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


class Place(NamedTuple):
    """One vector of channels of one sample."""

    b: int
    c: int
    """Its first channel."""
    width: int
    """Its channels; what lanes are left are zero."""
    v: int
    """Its number among the vectors of the item."""
    vectors: int
    """How many vectors the item has."""
    spare: int
    """Memory for a vector on its way."""


class Numbers(NamedTuple):
    """B or C along the steps of a chunk, the states of a step side by side."""

    address: int
    first: int
    step: int


@inline
@no_type_check
def fetch(x: Strided, place: Place, token: int) -> Vector:
    """Return a vector of channels whose other lanes are zero."""
    first = place.b * x.batch + token * x.token + place.c * x.channel
    if x.channel == 1 and place.width == LANES:
        return load(x.address, first)
    store(place.spare, 0, fill(ZERO))
    for k in range(place.width):
        put(place.spare, k, get(x.address, first + k * x.channel))
    return load(place.spare, 0)


@inline
@no_type_check
def deposit(x: Strided, place: Place, token: int, value: Vector) -> None:
    """Write the used lanes of `value`."""
    first = place.b * x.batch + token * x.token + place.c * x.channel
    if x.channel == 1 and place.width == LANES:
        store(x.address, first, value)
    else:
        store(place.spare, 0, value)
        for k in range(place.width):
            put(x.address, first + k * x.channel, get(place.spare, k))


@inline
@no_type_check
def fetch_states(rows: int, x: Strided, place: Place, chunk: int, d_state: int) -> None:
    """Copy a vector of channels of all states to `rows`, (group, vector, STATES)."""
    for n in range(d_state):
        store(rows, _state(place, n), fetch(_shifted(x, n), place, chunk))


@inline
@no_type_check
def deposit_states(rows: int, x: Strided, place: Place, chunk: int, d_state: int) -> None:
    """Copy back what `fetch_states` reads."""
    for n in range(d_state):
        deposit(_shifted(x, n), place, chunk, load(rows, _state(place, n)))


@inline
@no_type_check
def clear(rows: int, vectors: int) -> None:
    """Write zeros."""
    for v in range(vectors):
        store(rows, v * LANES, fill(ZERO))


@inline
@no_type_check
def token_of(call: Call, step: int) -> int:
    """Return the token that a step reads."""
    return call.length - 1 - step if call.reverse else step


@inline
@no_type_check
def numbers(call: Call, x: Strided, b: int, first: int, steps: int, spare: int) -> Numbers:
    """Return the numbers of `x`, B or C, from a step on: where they are, or copied to `spare`.

    Copies are made where states lie apart or do not fill their last group.
    """
    token = token_of(call, first)
    if x.state == 1 and call.d_state % STATES == 0:
        step = -x.token if call.reverse else x.token
        return Numbers(x.address, b * x.batch + token * x.token, step)
    padded = (call.d_state + STATES - 1) // STATES * STATES
    for i in range(steps):
        start = b * x.batch + token_of(call, first + i) * x.token
        for n in range(padded):
            known = n < call.d_state
            put(spare, i * padded + n, get(x.address, start + n * x.state) if known else ZERO)
    return Numbers(spare, 0, padded)


@inline
@no_type_check
def _state(place: Place, n: int) -> int:
    """Return where a state is in memory that is (group, vector, STATES)."""
    return ((n // STATES * place.vectors + place.v) * STATES + n % STATES) * LANES


@inline
@no_type_check
def _shifted(x: Strided, n: int) -> Strided:
    """Return `x` from state `n` on."""
    return Strided(x.address + n * x.state * FLOAT, x.batch, x.token, x.channel, x.state)
