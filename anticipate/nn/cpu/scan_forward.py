"""Forward kernel of the CPU scan: an item is one vector of channels of one sample.

Steps come in chunks. Of a chunk, what has no memory is computed first; then one group of states
after the other runs through all of its steps, in registers.
"""

from typing import NamedTuple, no_type_check

from anticipate.nn.cpu.lanes import (
    LANES,
    LOG2_E,
    STATES,
    add_states,
    exp2,
    inline_once,
    load,
    load_wide,
    repeat,
    sigmoid,
    softplus,
    spread,
    store,
)
from anticipate.nn.cpu.scan_blocks import (
    Call,
    Numbers,
    Place,
    Strided,
    clear,
    deposit,
    deposit_states,
    fetch,
    fetch_states,
    numbers,
    token_of,
)
from anticipate.nn.cpu.scan_memory import ForwardScratch
from anticipate.nn.cpu.team import ARGUMENTS, Kernel, own_scratch, reader, take
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
            width = min(LANES, call.d_inner - c)
            _block(call, y, scratch, Place(item // blocks, c, width, 0, 1, scratch.spare))
        first, last = take(team)


@inline_once
@no_type_check
def _block(call: Call, y: Strided, scratch: ForwardScratch, place: Place) -> None:
    """Run all tokens of one vector of channels."""
    groups = (call.d_state + STATES - 1) // STATES
    clear(scratch.rate, groups * STATES)
    clear(scratch.state, groups * STATES)
    fetch_states(scratch.rate, call.A, place, 0, call.d_state)
    for n in range(call.d_state):
        store(scratch.rate, n * LANES, load(scratch.rate, n * LANES) * LOG2_E)
    for first in range(0, call.length, CHUNK):
        steps = min(CHUNK, call.length - first)
        deposit_states(scratch.state, call.starts, place, first // CHUNK, call.d_state)
        _prepare(call, scratch, place, first, steps)
        B = numbers(call, call.B, place.b, first, steps, scratch.B)
        C = numbers(call, call.C, place.b, first, steps, scratch.C)
        for group in range(groups):
            _advance(scratch, B, C, group, steps)
        _finish(call, y, scratch, place, first, steps)


@inline_once
@no_type_check
def _prepare(call: Call, scratch: ForwardScratch, place: Place, first: int, steps: int) -> None:
    """Write dt, dt u and D u of a chunk."""
    skip, bias = fetch(call.D, place, 0), fetch(call.delta_bias, place, 0)
    for i in range(steps):
        token = token_of(call, first + i)
        u = fetch(call.u, place, token)
        dt = fetch(call.delta, place, token) + bias
        if call.delta_softplus:
            dt = softplus(dt)
        store(scratch.dt, i * LANES, dt)
        store(scratch.inflow, i * LANES, dt * u)
        store(scratch.out, i * LANES, skip * u)


@inline_once
@no_type_check
def _advance(scratch: ForwardScratch, B: Numbers, C: Numbers, group: int, steps: int) -> None:
    """Run a group of states through a chunk and add what C reads from them."""
    row = group * STATES * LANES
    rate, state = load_wide(scratch.rate, row), load_wide(scratch.state, row)
    for i in range(steps):
        decay = exp2(repeat(load(scratch.dt, i * LANES)) * rate)
        inflow = repeat(load(scratch.inflow, i * LANES))
        state = decay * state + inflow * spread(B.address, B.first + i * B.step + group * STATES)
        read = spread(C.address, C.first + i * C.step + group * STATES)
        store(scratch.out, i * LANES, add_states(load(scratch.out, i * LANES), state, read))
    store(scratch.state, row, state)


@inline_once
@no_type_check
def _finish(
    call: Call, y: Strided, scratch: ForwardScratch, place: Place, first: int, steps: int
) -> None:
    """Write the output of a chunk."""
    for i in range(steps):
        token = token_of(call, first + i)
        out = load(scratch.out, i * LANES)
        if call.gated:
            gate = fetch(call.z, place, token)
            out = out * gate * sigmoid(gate)
        deposit(y, place, token, out)
