"""Backward kernel of the CPU scan: an item is a group of vectors of channels of one sample.

Each chunk of steps is run forward again from its kept state, which leaves every state and decay in
scratch memory, and then backward. Groups are wide because the gradients of B and C are sums over
channels: lanes are added up once per group, token and state.
"""

from typing import NamedTuple, no_type_check

from anticipate.nn.kernels.lanes import (
    LANES,
    LN_2,
    LOG2_E,
    ONE,
    ZERO,
    Vector,
    exp2,
    fill,
    get,
    inline,
    lane_sum,
    load,
    put,
    sigmoid,
    softplus,
    store,
)
from anticipate.nn.kernels.team import (
    ARGUMENTS,
    Kernel,
    own_scratch,
    reader,
    take,
)
from anticipate.nn.scan.blocks import (
    FLOAT,
    Call,
    Grads,
    deposit,
    deposit_states,
    fetch,
    fetch_states,
)
from anticipate.nn.scan.cpu_memory import VECTORS, BackwardScratch
from anticipate.nn.scan.inputs import CHUNK


class BackwardWork(NamedTuple):
    """Arguments of the kernel."""

    call: Call
    grads: Grads


_read_work, _read_scratch = reader(BackwardWork), reader(BackwardScratch)


@Kernel
@no_type_check
def backward(team: int) -> None:
    """Run items of a scan until none is left."""
    call, grads = _read_work(team + ARGUMENTS)
    scratch = _read_scratch(own_scratch(team))
    wide = VECTORS * LANES
    groups = (call.d_inner + wide - 1) // wide
    first, last = take(team)
    while first < last:
        for item in range(first, last):
            _group(call, grads, scratch, item // groups, item % groups)
        first, last = take(team)


@inline
@no_type_check
def _group(call: Call, grads: Grads, scratch: BackwardScratch, b: int, group: int) -> None:
    """Run all tokens of a group of channels, from the last step to the first."""
    first = group * VECTORS * LANES
    vectors = (min(VECTORS * LANES, call.d_inner - first) + LANES - 1) // LANES
    for v in range(vectors):
        _open(call, scratch, b, first, v)
    for chunk in range((call.length - 1) // CHUNK, -1, -1):
        steps = min(CHUNK, call.length - chunk * CHUNK)
        for v in range(vectors):
            _replay(call, grads, scratch, b, first, v, chunk, steps)
        for i in range(steps - 1, -1, -1):
            token = _token(call, chunk * CHUNK + i)
            for n in range(call.d_state):
                store(scratch.B_sum, n * LANES, fill(ZERO))
                store(scratch.C_sum, n * LANES, fill(ZERO))
            for v in range(vectors):
                _retreat(call, grads, scratch, b, first, v, i, token)
            _add_lanes(call, grads, scratch, b, group, token)
    for v in range(vectors):
        _close(call, grads, scratch, b, first, v)


@inline
@no_type_check
def _token(call: Call, step: int) -> int:
    return call.length - 1 - step if call.reverse else step


@inline
@no_type_check
def _row(rows: int, index: int, length: int) -> int:
    """Return the address of row `index` when a row has `length` vectors."""
    return rows + index * length * LANES * FLOAT


@inline
@no_type_check
def _open(call: Call, scratch: BackwardScratch, b: int, first: int, v: int) -> None:
    """Load A and clear what is summed over tokens."""
    c = first + v * LANES
    N = call.d_state
    rate = _row(scratch.rate, v, N)
    fetch_states(rate, call.A, b, 0, c, min(LANES, call.d_inner - c), N, scratch.spare)
    for n in range(N):
        store(rate, n * LANES, load(rate, n * LANES) * LOG2_E)
        store(_row(scratch.carry, v, N), n * LANES, fill(ZERO))
        store(_row(scratch.A_sum, v, N), n * LANES, fill(ZERO))
    store(scratch.D_sum, v * LANES, fill(ZERO))
    store(scratch.bias_sum, v * LANES, fill(ZERO))


@inline
@no_type_check
def _replay(
    call: Call,
    grads: Grads,
    scratch: BackwardScratch,
    b: int,
    first: int,
    v: int,
    chunk: int,
    steps: int,
) -> None:
    """Run one vector through a chunk again and keep what `_retreat` needs."""
    c = first + v * LANES
    width = min(LANES, call.d_inner - c)
    spare = scratch.spare
    fetch_states(scratch.state, call.starts, b, chunk, c, width, call.d_state, spare)
    skip = fetch(call.D, b, 0, c, width, spare)
    bias = fetch(call.delta_bias, b, 0, c, width, spare)
    for i in range(steps):
        token = _token(call, chunk * CHUNK + i)
        u = fetch(call.u, b, token, c, width, spare)
        dt = fetch(call.delta, b, token, c, width, spare) + bias
        slope = fill(ONE)
        if call.delta_softplus:
            slope = sigmoid(dt)
            dt = softplus(dt)
        index = i * VECTORS + v
        out = skip * u + _advance(call, scratch, b, token, v, index, dt, dt * u)
        grad_y = fetch(grads.y, b, token, c, width, spare)
        if call.gated:
            z = fetch(call.z, b, token, c, width, spare)
            gate = sigmoid(z)
            grad_z = grad_y * out * gate * (ONE + z * (ONE - gate))
            deposit(grads.z, b, token, c, width, spare, grad_z)
            grad_y = grad_y * z * gate
        store(scratch.u, index * LANES, u)
        store(scratch.dt, index * LANES, dt)
        store(scratch.slope, index * LANES, slope)
        store(scratch.grad_y, index * LANES, grad_y)


@inline
@no_type_check
def _advance(
    call: Call,
    scratch: BackwardScratch,
    b: int,
    token: int,
    v: int,
    index: int,
    dt: Vector,
    inflow: Vector,
) -> Vector:
    """Move the state by one token, keep its decay and start, and return what C reads from it."""
    first_B = b * call.B.batch + token * call.B.token
    first_C = b * call.C.batch + token * call.C.token
    rate = _row(scratch.rate, v, call.d_state)
    decays = _row(scratch.decay, index, call.d_state)
    before = _row(scratch.before, index, call.d_state)
    out = fill(ZERO)
    for n in range(call.d_state):
        h = load(scratch.state, n * LANES)
        decay = exp2(dt * load(rate, n * LANES))
        store(before, n * LANES, h)
        store(decays, n * LANES, decay)
        h = decay * h + inflow * get(call.B.address, first_B + n * call.B.state)
        store(scratch.state, n * LANES, h)
        out = out + h * get(call.C.address, first_C + n * call.C.state)
    return out


@inline
@no_type_check
def _retreat(
    call: Call,
    grads: Grads,
    scratch: BackwardScratch,
    b: int,
    first: int,
    v: int,
    i: int,
    token: int,
) -> None:
    """Take one vector back over one step."""
    c = first + v * LANES
    width = min(LANES, call.d_inner - c)
    index = i * VECTORS + v
    u = load(scratch.u, index * LANES)
    dt = load(scratch.dt, index * LANES)
    grad_y = load(scratch.grad_y, index * LANES)
    grad_dt, grad_inflow = _differentiate(call, scratch, b, token, v, index, dt, dt * u, grad_y)
    skip = fetch(call.D, b, 0, c, width, scratch.spare)
    grad_u = dt * grad_inflow + skip * grad_y
    grad_delta = (grad_dt + grad_inflow * u) * load(scratch.slope, index * LANES)
    deposit(grads.u, b, token, c, width, scratch.spare, grad_u)
    deposit(grads.delta, b, token, c, width, scratch.spare, grad_delta)
    store(scratch.D_sum, v * LANES, load(scratch.D_sum, v * LANES) + grad_y * u)
    store(scratch.bias_sum, v * LANES, load(scratch.bias_sum, v * LANES) + grad_delta)


@inline
@no_type_check
def _differentiate(
    call: Call,
    scratch: BackwardScratch,
    b: int,
    token: int,
    v: int,
    index: int,
    dt: Vector,
    inflow: Vector,
    grad_y: Vector,
) -> tuple[Vector, Vector]:
    """Return the gradients of dt (through the decay) and of dt u; add to those of A, B and C."""
    first_B = b * call.B.batch + token * call.B.token
    first_C = b * call.C.batch + token * call.C.token
    N = call.d_state
    rate, carry, grad_A = (
        _row(scratch.rate, v, N),
        _row(scratch.carry, v, N),
        _row(scratch.A_sum, v, N),
    )
    decays, befores = _row(scratch.decay, index, N), _row(scratch.before, index, N)
    grad_exponent, grad_inflow = fill(ZERO), fill(ZERO)
    for n in range(N):
        o = n * LANES
        B_n = get(call.B.address, first_B + n * call.B.state)
        decay, before = load(decays, o), load(befores, o)
        h = decay * before + inflow * B_n
        grad_h = load(carry, o) + grad_y * get(call.C.address, first_C + n * call.C.state)
        store(scratch.B_sum, o, load(scratch.B_sum, o) + grad_h * inflow)
        store(scratch.C_sum, o, load(scratch.C_sum, o) + grad_y * h)
        grad_inflow = grad_inflow + grad_h * B_n
        grad_before = grad_h * decay
        store(carry, o, grad_before)
        through_decay = grad_before * before
        grad_exponent = grad_exponent + through_decay * load(rate, o)
        store(grad_A, o, load(grad_A, o) + through_decay * dt)
    return grad_exponent * LN_2, grad_inflow


@inline
@no_type_check
def _add_lanes(
    call: Call, grads: Grads, scratch: BackwardScratch, b: int, group: int, token: int
) -> None:
    """Write the gradients of one token's B and C."""
    B, C = grads.B, grads.C
    for n in range(call.d_state):
        sum_B, sum_C = load(scratch.B_sum, n * LANES), load(scratch.C_sum, n * LANES)
        at = b * B.batch + token * B.token + group * B.channel + n * B.state
        put(B.address, at, lane_sum(sum_B))
        put(C.address, at, lane_sum(sum_C))


@inline
@no_type_check
def _close(call: Call, grads: Grads, scratch: BackwardScratch, b: int, first: int, v: int) -> None:
    """Write what was summed over tokens."""
    c = first + v * LANES
    width = min(LANES, call.d_inner - c)
    spare = scratch.spare
    rows = _row(scratch.A_sum, v, call.d_state)
    deposit_states(rows, grads.A, b, 0, c, width, call.d_state, spare)
    deposit(grads.D, b, 0, c, width, spare, load(scratch.D_sum, v * LANES))
    deposit(grads.delta_bias, b, 0, c, width, spare, load(scratch.bias_sum, v * LANES))
