"""Backward kernel of the CPU scan: an item is a group of vectors of channels of one sample.

Each chunk of steps is run forward again from its kept state, which leaves every state and decay in
scratch memory, and then backward. Items are wide because the gradients of B and C are sums over
channels: lanes are added up once per item, token and state.
"""

from typing import NamedTuple, no_type_check

from anticipate.nn.cpu.lanes import (
    LANES,
    LN_2,
    LOG2_E,
    ONE,
    STATES,
    ZERO,
    Vector,
    add_states,
    exp2,
    fill,
    fill_wide,
    inline,
    inline_once,
    load,
    load_wide,
    put_lane_sums,
    repeat,
    sigmoid,
    softplus,
    spread,
    store,
)
from anticipate.nn.cpu.scan_blocks import (
    Call,
    Grads,
    Numbers,
    Place,
    clear,
    deposit,
    deposit_states,
    fetch,
    fetch_states,
    numbers,
    token_of,
)
from anticipate.nn.cpu.scan_memory import VECTORS, BackwardScratch
from anticipate.nn.cpu.team import ARGUMENTS, Kernel, own_scratch, reader, take
from anticipate.nn.scan.inputs import CHUNK

_WIDE = STATES * LANES


class BackwardWork(NamedTuple):
    """Arguments of the kernel."""

    call: Call
    grads: Grads


class Item(NamedTuple):
    """Up to `VECTORS` vectors of channels of one sample."""

    b: int
    number: int
    """Its number among the items of the sample."""
    vectors: int
    groups: int
    """Groups of states."""


_read_work, _read_scratch = reader(BackwardWork), reader(BackwardScratch)


@Kernel
@no_type_check
def backward(team: int) -> None:
    """Run items of a scan until none is left."""
    call, grads = _read_work(team + ARGUMENTS)
    scratch = _read_scratch(own_scratch(team))
    channels = VECTORS * LANES
    items = (call.d_inner + channels - 1) // channels
    first, last = take(team)
    while first < last:
        for item in range(first, last):
            _run(call, grads, scratch, _item(call, item // items, item % items))
        first, last = take(team)


@inline_once
@no_type_check
def _item(call: Call, b: int, number: int) -> Item:
    channels = min(VECTORS * LANES, call.d_inner - number * VECTORS * LANES)
    groups = (call.d_state + STATES - 1) // STATES
    return Item(b, number, (channels + LANES - 1) // LANES, groups)


@inline_once
@no_type_check
def _run(call: Call, grads: Grads, scratch: BackwardScratch, item: Item) -> None:
    """Run all tokens of an item, from the last step to the first."""
    _open(call, scratch, item)
    for chunk in range((call.length - 1) // CHUNK, -1, -1):
        first = chunk * CHUNK
        steps = min(CHUNK, call.length - first)
        B = numbers(call, call.B, item.b, first, steps, scratch.B)
        C = numbers(call, call.C, item.b, first, steps, scratch.C)
        for v in range(item.vectors):
            place = _place(call, scratch, item, v)
            _replay(call, grads, scratch, place, B, C, first, steps)
        for i in range(steps - 1, -1, -1):
            _step(call, grads, scratch, item, B, C, i, token_of(call, first + i))
    for v in range(item.vectors):
        _close(call, grads, scratch, _place(call, scratch, item, v))


@inline
@no_type_check
def _place(call: Call, scratch: BackwardScratch, item: Item, v: int) -> Place:
    c = (item.number * VECTORS + v) * LANES
    return Place(item.b, c, min(LANES, call.d_inner - c), v, item.vectors, scratch.spare)


@inline_once
@no_type_check
def _open(call: Call, scratch: BackwardScratch, item: Item) -> None:
    """Load A and clear what is summed over tokens."""
    rows = item.groups * STATES * item.vectors
    for memory in (scratch.rate, scratch.carry, scratch.A_sum, scratch.state):
        clear(memory, rows)
    clear(scratch.D_sum, item.vectors)
    clear(scratch.bias_sum, item.vectors)
    for v in range(item.vectors):
        fetch_states(scratch.rate, call.A, _place(call, scratch, item, v), 0, call.d_state)
    for row in range(rows):
        store(scratch.rate, row * LANES, load(scratch.rate, row * LANES) * LOG2_E)


@inline_once
@no_type_check
def _step(
    call: Call,
    grads: Grads,
    scratch: BackwardScratch,
    item: Item,
    B: Numbers,
    C: Numbers,
    i: int,
    token: int,
) -> None:
    """Take all states of all vectors back over one step."""
    clear(scratch.grad_exponent, item.vectors)
    clear(scratch.grad_inflow, item.vectors)
    at = item.b * grads.B.batch + token * grads.B.token + item.number * grads.B.channel
    for group in range(item.groups):
        B_sum, C_sum = _retreat(scratch, item, B, C, i, group)
        put_lane_sums(grads.B.address, at + group * STATES, B_sum)
        put_lane_sums(grads.C.address, at + group * STATES, C_sum)
    for v in range(item.vectors):
        _finish(call, grads, scratch, _place(call, scratch, item, v), i, token)


@inline_once
@no_type_check
def _replay(
    call: Call,
    grads: Grads,
    scratch: BackwardScratch,
    place: Place,
    B: Numbers,
    C: Numbers,
    first: int,
    steps: int,
) -> None:
    """Run one vector through a chunk again and keep what `_retreat` needs."""
    skip, bias = fetch(call.D, place, 0), fetch(call.delta_bias, place, 0)
    for i in range(steps):
        token, o = token_of(call, first + i), (i * place.vectors + place.v) * LANES
        u = fetch(call.u, place, token)
        dt = fetch(call.delta, place, token) + bias
        slope = fill(ONE)
        if call.delta_softplus:
            slope = sigmoid(dt)
            dt = softplus(dt)
        store(scratch.u, o, u)
        store(scratch.dt, o, dt)
        store(scratch.slope, o, slope)
        store(scratch.out, o, skip * u)
    fetch_states(scratch.state, call.starts, place, first // CHUNK, call.d_state)
    groups = (call.d_state + STATES - 1) // STATES
    for group in range(groups):
        _advance(scratch, place, B, C, group, groups, steps)
    for i in range(steps):
        token, o = token_of(call, first + i), (i * place.vectors + place.v) * LANES
        grad_y = fetch(grads.y, place, token)
        if call.gated:
            z = fetch(call.z, place, token)
            gate = sigmoid(z)
            grad_z = grad_y * load(scratch.out, o) * gate * (ONE + z * (ONE - gate))
            deposit(grads.z, place, token, grad_z)
            grad_y = grad_y * z * gate
        store(scratch.grad_y, o, grad_y)


@inline_once
@no_type_check
def _advance(
    scratch: BackwardScratch,
    place: Place,
    B: Numbers,
    C: Numbers,
    group: int,
    groups: int,
    steps: int,
) -> None:
    """Run a group of states through a chunk, keep decays and states, add what C reads."""
    row = (group * place.vectors + place.v) * _WIDE
    rate, state = load_wide(scratch.rate, row), load_wide(scratch.state, row)
    for i in range(steps):
        o = (i * place.vectors + place.v) * LANES
        kept = i * groups * place.vectors * _WIDE + row
        dt = load(scratch.dt, o)
        decay = exp2(repeat(dt) * rate)
        store(scratch.before, kept, state)
        store(scratch.decay, kept, decay)
        inflow = repeat(dt * load(scratch.u, o))
        state = decay * state + inflow * spread(B.address, B.first + i * B.step + group * STATES)
        read = spread(C.address, C.first + i * C.step + group * STATES)
        store(scratch.out, o, add_states(load(scratch.out, o), state, read))


@inline_once
@no_type_check
def _retreat(
    scratch: BackwardScratch, item: Item, B_rows: Numbers, C_rows: Numbers, i: int, group: int
) -> tuple[Vector, Vector]:
    """Take a group of states of all vectors back over one step.

    Returns the gradients of the step's B and C before lanes are added up.
    """
    B = spread(B_rows.address, B_rows.first + i * B_rows.step + group * STATES)
    C = spread(C_rows.address, C_rows.first + i * C_rows.step + group * STATES)
    B_sum, C_sum = fill_wide(ZERO), fill_wide(ZERO)
    for v in range(item.vectors):
        o, row = (i * item.vectors + v) * LANES, (group * item.vectors + v) * _WIDE
        kept = i * item.groups * item.vectors * _WIDE + row
        dt, grad_y = repeat(load(scratch.dt, o)), repeat(load(scratch.grad_y, o))
        inflow = dt * repeat(load(scratch.u, o))
        decay, before = load_wide(scratch.decay, kept), load_wide(scratch.before, kept)
        grad_h = load_wide(scratch.carry, row) + grad_y * C
        B_sum = B_sum + grad_h * inflow
        C_sum = C_sum + grad_y * (decay * before + inflow * B)
        grad_before = grad_h * decay
        store(scratch.carry, row, grad_before)
        through_decay = grad_before * before
        store(scratch.A_sum, row, load_wide(scratch.A_sum, row) + through_decay * dt)
        v_o = v * LANES
        grad_inflow = add_states(load(scratch.grad_inflow, v_o), grad_h, B)
        store(scratch.grad_inflow, v_o, grad_inflow)
        rate = load_wide(scratch.rate, row)
        grad_exponent = add_states(load(scratch.grad_exponent, v_o), through_decay, rate)
        store(scratch.grad_exponent, v_o, grad_exponent)
    return B_sum, C_sum


@inline_once
@no_type_check
def _finish(
    call: Call, grads: Grads, scratch: BackwardScratch, place: Place, i: int, token: int
) -> None:
    """Write the gradients of one step's u and delta."""
    o, v_o = (i * place.vectors + place.v) * LANES, place.v * LANES
    u, dt, grad_y = load(scratch.u, o), load(scratch.dt, o), load(scratch.grad_y, o)
    grad_inflow = load(scratch.grad_inflow, v_o)
    grad_dt = load(scratch.grad_exponent, v_o) * LN_2 + grad_inflow * u
    grad_delta = grad_dt * load(scratch.slope, o)
    deposit(grads.u, place, token, dt * grad_inflow + fetch(call.D, place, 0) * grad_y)
    deposit(grads.delta, place, token, grad_delta)
    store(scratch.D_sum, v_o, load(scratch.D_sum, v_o) + grad_y * u)
    store(scratch.bias_sum, v_o, load(scratch.bias_sum, v_o) + grad_delta)


@inline_once
@no_type_check
def _close(call: Call, grads: Grads, scratch: BackwardScratch, place: Place) -> None:
    """Write what was summed over tokens."""
    deposit_states(scratch.A_sum, grads.A, place, 0, call.d_state)
    deposit(grads.D, place, 0, load(scratch.D_sum, place.v * LANES))
    deposit(grads.delta_bias, place, 0, load(scratch.bias_sum, place.v * LANES))
