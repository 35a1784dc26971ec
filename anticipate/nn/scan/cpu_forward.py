"""Forward kernel of the CPU scan: an item is one vector of channels of one sample."""

from typing import NamedTuple, no_type_check

from anticipate.nn.kernels.lanes import (
    LANES,
    LOG2_E,
    ZERO,
    Vector,
    exp2,
    fill,
    get,
    inline,
    load,
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
    Call,
    Strided,
    deposit,
    deposit_states,
    fetch,
    fetch_states,
)
from anticipate.nn.scan.cpu_memory import ForwardScratch
from anticipate.nn.scan.inputs import CHUNK


class ForwardWork(NamedTuple):
    """Arguments of the kernel."""

    call: Call
    y: Strided


_read_work, _read_scratch = reader(ForwardWork), reader(ForwardScratch)


@Kernel
@no_type_check
def forward(team: int) -> None:
    """Run items of a scan until none is left."""
    call, y = _read_work(team + ARGUMENTS)
    scratch = _read_scratch(own_scratch(team))
    blocks = (call.d_inner + LANES - 1) // LANES
    first, last = take(team)
    while first < last:
        for item in range(first, last):
            c = (item % blocks) * LANES
            _block(call, y, scratch, item // blocks, c, min(LANES, call.d_inner - c))
        first, last = take(team)


@inline
@no_type_check
def _block(call: Call, y: Strided, scratch: ForwardScratch, b: int, c: int, width: int) -> None:
    """Run all tokens of the channels from `c` on."""
    rate, state, spare = scratch
    fetch_states(rate, call.A, b, 0, c, width, call.d_state, spare)
    for n in range(call.d_state):
        store(rate, n * LANES, load(rate, n * LANES) * LOG2_E)
        store(state, n * LANES, fill(ZERO))
    skip = fetch(call.D, b, 0, c, width, spare)
    bias = fetch(call.delta_bias, b, 0, c, width, spare)
    for step in range(call.length):
        if step % CHUNK == 0:
            chunk = step // CHUNK
            deposit_states(state, call.starts, b, chunk, c, width, call.d_state, spare)
        token = call.length - 1 - step if call.reverse else step
        u = fetch(call.u, b, token, c, width, spare)
        dt = fetch(call.delta, b, token, c, width, spare) + bias
        if call.delta_softplus:
            dt = softplus(dt)
        out = skip * u + _advance(call, rate, state, b, token, dt, dt * u)
        if call.gated:
            gate = fetch(call.z, b, token, c, width, spare)
            out = out * gate * sigmoid(gate)
        deposit(y, b, token, c, width, spare, out)


@inline
@no_type_check
def _advance(
    call: Call, rate: int, state: int, b: int, token: int, dt: Vector, inflow: Vector
) -> Vector:
    """Move the state by one token and return what C reads from it."""
    first_b = b * call.B.batch + token * call.B.token
    first_c = b * call.C.batch + token * call.C.token
    out = fill(ZERO)
    for n in range(call.d_state):
        decay = exp2(dt * load(rate, n * LANES))
        h = decay * load(state, n * LANES) + inflow * get(
            call.B.address, first_b + n * call.B.state
        )
        store(state, n * LANES, h)
        out = out + h * get(call.C.address, first_c + n * call.C.state)
    return out
