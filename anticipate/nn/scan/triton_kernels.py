"""Triton kernels of the selective scan: one forward, one backward.

A program owns a block of channels of one sample and walks through the tokens with all states of
the block in registers. A tensor is a tuple of its pointer and its strides along samples, channels
(or states) and tokens, so every layout is read in place. Absent tensors are None.
"""

# ruff: noqa: ANN001, ANN201, ANN202 -- Triton reads annotations as types of its own.

from typing import no_type_check

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
@no_type_check
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp2(-x * LOG2_E))


@triton.jit
@no_type_check
def _softplus(x):
    # log(w) e / (w - 1) with w = 1 + e is exact where log(1 + e) has lost the digits of e
    e = tl.exp2(-tl.abs(x) * LOG2_E)
    w = 1.0 + e
    log1p = tl.where(w == 1.0, e, tl.log(w) * (e / tl.where(w == 1.0, 1.0, w - 1.0)))
    return log1p + tl.where(x < 0.0, 0.0, x)


@triton.jit
@no_type_check
def _load(x, b, index, token, mask):
    address = x[0] + b * x[1] + index * x[2] + token * x[3]
    return tl.load(address, mask=mask, other=0.0).to(tl.float32)


@triton.jit
@no_type_check
def _store(x, b, index, token, mask, value):
    tl.store(x[0] + b * x[1] + index * x[2] + token * x[3], value, mask=mask)


@triton.jit
@no_type_check
def _time_step(delta, delta_bias, b, c, token, lanes, SOFTPLUS: tl.constexpr):
    """Return dt and its derivative by delta."""
    dt = _load(delta, b, c, token, lanes)
    slope = tl.full(dt.shape, 1.0, tl.float32)
    if delta_bias is not None:
        dt += tl.load(delta_bias + c, mask=lanes, other=0.0)
    if SOFTPLUS:
        slope = _sigmoid(dt)
        dt = _softplus(dt)
    return dt, slope


@triton.jit
@no_type_check
def _token(step, length, REVERSE: tl.constexpr):
    return length - 1 - step if REVERSE else step


@triton.jit
@no_type_check
def forward_kernel(
    u, delta, A, B, C, D, z, delta_bias, y, starts, d_inner, d_state, length,
    SOFTPLUS: tl.constexpr, REVERSE: tl.constexpr, CHUNK: tl.constexpr,
    CHANNELS: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    """Write y and the state at the start of every chunk."""
    b = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    n = tl.arange(0, STATES)
    lanes, states = c < d_inner, n < d_state
    tile = lanes[:, None] & states[None, :]
    rate = _load(A, b, c[:, None], n[None, :], tile) * LOG2_E
    state = tl.zeros((CHANNELS, STATES), tl.float32)
    for step in range(length):
        token = _token(step, length, REVERSE)
        if step % CHUNK == 0:
            _store(starts, b, c[:, None] + n[None, :] * d_inner, step // CHUNK, tile, state)
        u_l = _load(u, b, c, token, lanes)
        dt, _ = _time_step(delta, delta_bias, b, c, token, lanes, SOFTPLUS)
        inflow = (dt * u_l)[:, None] * _load(B, b, n, token, states)[None, :]
        state = tl.exp2(dt[:, None] * rate) * state + inflow
        out = tl.sum(state * _load(C, b, n, token, states)[None, :], 1)
        if D is not None:
            out += tl.load(D + c, mask=lanes, other=0.0) * u_l
        if z is not None:
            gate = _load(z, b, c, token, lanes)
            out *= gate * _sigmoid(gate)
        _store(y, b, c, token, lanes, out)


@triton.jit
@no_type_check
def _replay(
    u, delta, B, delta_bias, starts, history, rate, b, c, n, place, lanes, states, tile,
    first, steps, length, SOFTPLUS: tl.constexpr, REVERSE: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Run a chunk forward again and keep the state before each of its steps."""
    state = _load(starts, b, place, first // CHUNK, tile)
    for i in range(steps):
        token = _token(first + i, length, REVERSE)
        _store(history, b, place, i, tile, state)
        dt, _ = _time_step(delta, delta_bias, b, c, token, lanes, SOFTPLUS)
        inflow = dt * _load(u, b, c, token, lanes)
        B_l = _load(B, b, n, token, states)[None, :]
        state = tl.exp2(dt[:, None] * rate) * state + inflow[:, None] * B_l


@triton.jit
@no_type_check
def _through_gate(z, grad_z, towards, out, b, c, token, lanes):
    """Write the gradient of the gate and return that of C h + D u."""
    if z is not None:
        gate = _load(z, b, c, token, lanes)
        share = _sigmoid(gate)
        _store(grad_z, b, c, token, lanes, towards * out * share * (1 + gate * (1 - share)))
        towards *= gate * share
    return towards


@triton.jit
@no_type_check
def backward_kernel(
    u, delta, A, B, C, D, z, delta_bias, grad_y, starts, history,
    grad_u, grad_delta, grad_A, grad_B, grad_C, grad_D, grad_z, grad_bias,
    d_inner, d_state, length,
    SOFTPLUS: tl.constexpr, REVERSE: tl.constexpr, CHUNK: tl.constexpr,
    CHANNELS: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    """Write gradients: of A, D and the bias per sample, of B and C per block of channels."""
    b = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    n = tl.arange(0, STATES)
    lanes, states = c < d_inner, n < d_state
    tile = lanes[:, None] & states[None, :]
    place = c[:, None] + n[None, :] * d_inner
    rate = _load(A, b, c[:, None], n[None, :], tile) * LOG2_E
    carry = tl.zeros((CHANNELS, STATES), tl.float32)
    sum_A = tl.zeros((CHANNELS, STATES), tl.float32)
    sum_D = tl.zeros((CHANNELS,), tl.float32)
    sum_bias = tl.zeros((CHANNELS,), tl.float32)
    skip = tl.zeros((CHANNELS,), tl.float32)
    if D is not None:
        skip = tl.load(D + c, mask=lanes, other=0.0)
    for step in range(length - 1, -1, -1):
        i = step % CHUNK
        if i == CHUNK - 1 or step == length - 1:
            tl.debug_barrier()
            _replay(
                u, delta, B, delta_bias, starts, history, rate, b, c, n, place, lanes, states, tile,
                step - i, i + 1, length, SOFTPLUS, REVERSE, CHUNK,
            )  # fmt: skip
            tl.debug_barrier()
        token = _token(step, length, REVERSE)
        u_l = _load(u, b, c, token, lanes)
        dt, slope = _time_step(delta, delta_bias, b, c, token, lanes, SOFTPLUS)
        B_l = _load(B, b, n, token, states)[None, :]
        C_l = _load(C, b, n, token, states)[None, :]
        inflow = (dt * u_l)[:, None]
        before = _load(history, b, place, i, tile)
        decay = tl.exp2(dt[:, None] * rate)
        state = decay * before + inflow * B_l
        out = tl.sum(state * C_l, 1) + skip * u_l
        towards = _load(grad_y, b, c, token, lanes)
        towards = _through_gate(z, grad_z, towards, out, b, c, token, lanes)
        grad_h = carry + towards[:, None] * C_l
        carry = grad_h * decay
        through = carry * before
        grad_inflow = tl.sum(grad_h * B_l, 1)
        # A, the derivative of dt A by dt, is rate / log2(e)
        grad_dt = (tl.sum(through * rate, 1) / LOG2_E + grad_inflow * u_l) * slope
        sum_A += through * dt[:, None]
        sum_D += towards * u_l
        sum_bias += grad_dt
        per_block = tl.program_id(1) * d_state + n
        _store(grad_u, b, c, token, lanes, dt * grad_inflow + skip * towards)
        _store(grad_delta, b, c, token, lanes, grad_dt)
        _store(grad_B, b, per_block, token, states, tl.sum(grad_h * inflow, 0))
        _store(grad_C, b, per_block, token, states, tl.sum(state * towards[:, None], 0))
    _store(grad_A, b, c[:, None], n[None, :], tile, sum_A)
    tl.store(grad_D + b * d_inner + c, sum_D, mask=lanes)
    tl.store(grad_bias + b * d_inner + c, sum_bias, mask=lanes)
