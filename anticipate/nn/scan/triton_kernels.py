"""Triton kernels of the selective scan: one forward, one backward.

A program is one warp. It owns a few channels of one sample and walks through the tokens in blocks.
All inputs of a block are read before its recurrence starts, while that of the block before runs.
Tiles are (tokens, states, channels): from the last axis on, Triton spreads them over the 32 lanes,
so that the tokens of a block end up in the registers of one lane and the recurrence runs within it.

A tensor is a tuple of its pointer and its strides along samples, channels (or states) and tokens,
so every layout is read in place. Absent tensors are None.
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
def _store_partial(x, b, index, token, mask, value):
    """Write the share of this program's channels, for which `x` has one more axis."""
    address = x[0] + tl.program_id(1).to(tl.int64) * x[4] + b * x[1] + index * x[2] + token * x[3]
    tl.store(address, value, mask=mask)


@triton.jit
@no_type_check
def _channel_vector(x, c, lanes):
    # one return: versions before 3.9 also read what follows an early one
    if x is None:
        vector = tl.zeros(c.shape, tl.float32)
    else:
        vector = tl.load(x + c, mask=lanes, other=0.0).to(tl.float32)
    return vector


@triton.jit
@no_type_check
def _block(first, length, TOKENS: tl.constexpr, REVERSE: tl.constexpr):
    """Return the tokens of a block in the order of the scan (tokens, 1), and which ones exist."""
    step = first + tl.arange(0, TOKENS)[:, None]
    token = length - 1 - step if REVERSE else step
    return token, (step >= 0) & (step < length)


@triton.jit
@no_type_check
def _read(u, delta, B, C, b, c, n, lanes, rows, token, exists):
    """Return tiles (tokens, channels) of u and delta and (tokens, states) of B and C."""
    inside, kept = exists & lanes[None, :], exists & rows[None, :]
    u_l = _load(u, b, c[None, :], token, inside)
    delta_l = _load(delta, b, c[None, :], token, inside)
    B_l = _load(B, b, n[None, :], token, kept)
    C_l = _load(C, b, n[None, :], token, kept)
    return u_l, delta_l, B_l, C_l


@triton.jit
@no_type_check
def _row(x, index: tl.constexpr):
    """Return one token of a tile. The other bits are zeros, whose sum costs nothing."""
    row = tl.arange(0, x.shape[0])[:, None, None]
    bits = tl.where(row == index, x.to(tl.int32, bitcast=True), 0)
    return tl.sum(bits, 0).to(tl.float32, bitcast=True)


@triton.jit
@no_type_check
def _with_row(x, index: tl.constexpr, value):
    row = tl.arange(0, x.shape[0])[:, None, None]
    return tl.where(row == index, value[None, :, :], x)


@triton.jit
@no_type_check
def _discretised(dt, u, B, rate):
    """Return what is left of the state, and what flows in, at each token."""
    return tl.exp2(dt[:, None, :] * rate[None, :, :]), (dt * u)[:, None, :] * B[:, :, None]


@triton.jit
@no_type_check
def forward_kernel(
    one, other, d_inner, d_state, length,
    PAIR: tl.constexpr, SOFTPLUS: tl.constexpr, REVERSE: tl.constexpr, CHUNK: tl.constexpr,
    TOKENS: tl.constexpr, CHANNELS: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    """Write y and the state at the start of every chunk.

    With PAIR, half of the programs run another scan, in the other direction.
    """
    _forward(
        *one, d_inner, d_state, length,
        0, SOFTPLUS, REVERSE, CHUNK, TOKENS, CHANNELS, STATES,
    )  # fmt: skip
    if PAIR:
        _forward(
            *other, d_inner, d_state, length,
            1, SOFTPLUS, not REVERSE, CHUNK, TOKENS, CHANNELS, STATES,
        )  # fmt: skip


@triton.jit
@no_type_check
def _forward(
    u, delta, A, B, C, D, z, delta_bias, y, starts, d_inner, d_state, length,
    SCAN: tl.constexpr, SOFTPLUS: tl.constexpr, REVERSE: tl.constexpr, CHUNK: tl.constexpr,
    TOKENS: tl.constexpr, CHANNELS: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    if tl.program_id(2) == SCAN:  # within: versions before 3.9 forget tuples in an else
        b = tl.program_id(0).to(tl.int64)
        c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
        n = tl.arange(0, STATES)
        lanes, rows = c < d_inner, n < d_state
        tile = rows[:, None] & lanes[None, :]
        kept = c[None, :] + n[:, None] * d_inner
        rate = _load(A, b, c[None, :], n[:, None], tile) * LOG2_E
        skip, bias = _channel_vector(D, c, lanes), _channel_vector(delta_bias, c, lanes)
        state = tl.zeros((STATES, CHANNELS), tl.float32)
        token, exists = _block(0, length, TOKENS, REVERSE)
        next_u, next_delta, next_B, next_C = _read(
            u, delta, B, C, b, c, n, lanes, rows, token, exists
        )  # fmt: skip
        for first in range(0, length, TOKENS):
            u_l, dt, B_l, C_l = next_u, next_delta + bias[None, :], next_B, next_C
            token, exists = _block(first + TOKENS, length, TOKENS, REVERSE)
            next_u, next_delta, next_B, next_C = _read(
                u, delta, B, C, b, c, n, lanes, rows, token, exists
            )  # fmt: skip
            if SOFTPLUS:
                dt = _softplus(dt)
            decay, inflow = _discretised(dt, u_l, B_l, rate)
            states = inflow
            for i in tl.static_range(TOKENS):
                if i % CHUNK == 0:
                    inside = tl.where(tile, first + i, length) < length
                    _store(starts, b, kept, (first + i) // CHUNK, inside, state)
                state = _row(decay, i) * state + _row(inflow, i)
                states = _with_row(states, i, state)
            out = tl.sum(states * C_l[:, :, None], 1) + skip[None, :] * u_l
            token, exists = _block(first, length, TOKENS, REVERSE)
            inside = exists & lanes[None, :]
            if z is not None:
                gate = _load(z, b, c[None, :], token, inside)
                out *= gate * _sigmoid(gate)
            _store(y, b, c[None, :], token, inside, out)


@triton.jit
@no_type_check
def _through_gate(z, grad_z, towards, out, b, c, token, inside):
    """Write the gradient of the gate and return that of C h + D u."""
    if z is not None:
        gate = _load(z, b, c, token, inside)
        share = _sigmoid(gate)
        _store(grad_z, b, c, token, inside, towards * out * share * (1 + gate * (1 - share)))
        towards *= gate * share
    return towards


@triton.jit
@no_type_check
def backward_kernel(
    one, other, d_inner, d_state, length,
    PAIR: tl.constexpr, SOFTPLUS: tl.constexpr, REVERSE: tl.constexpr,
    TOKENS: tl.constexpr, CHANNELS: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    """Write gradients: of A, D and the bias per sample, of B and C per block of channels.

    With PAIR, half of the programs run another scan, in the other direction.
    """
    _backward(
        *one, d_inner, d_state, length,
        0, SOFTPLUS, REVERSE, TOKENS, CHANNELS, STATES,
    )  # fmt: skip
    if PAIR:
        _backward(
            *other, d_inner, d_state, length,
            1, SOFTPLUS, not REVERSE, TOKENS, CHANNELS, STATES,
        )  # fmt: skip


@triton.jit
@no_type_check
def _backward(
    u, delta, A, B, C, D, z, delta_bias, grad_y, starts,
    grad_u, grad_delta, grad_A, grad_B, grad_C, grad_D, grad_z, grad_bias,
    d_inner, d_state, length,
    SCAN: tl.constexpr, SOFTPLUS: tl.constexpr, REVERSE: tl.constexpr,
    TOKENS: tl.constexpr, CHANNELS: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    if tl.program_id(2) == SCAN:  # within: versions before 3.9 forget tuples in an else
        b = tl.program_id(0).to(tl.int64)
        c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
        n = tl.arange(0, STATES)
        lanes, rows = c < d_inner, n < d_state
        tile = rows[:, None] & lanes[None, :]
        kept = c[None, :] + n[:, None] * d_inner
        rate = _load(A, b, c[None, :], n[:, None], tile) * LOG2_E
        skip, bias = _channel_vector(D, c, lanes), _channel_vector(delta_bias, c, lanes)
        carry = tl.zeros((STATES, CHANNELS), tl.float32)
        sum_A = tl.zeros((STATES, CHANNELS), tl.float32)
        sum_D = tl.zeros((TOKENS, CHANNELS), tl.float32)
        sum_bias = tl.zeros((TOKENS, CHANNELS), tl.float32)
        blocks = tl.cdiv(length, TOKENS)
        token, exists = _block((blocks - 1) * TOKENS, length, TOKENS, REVERSE)
        next_u, next_delta, next_B, next_C = _read(
            u, delta, B, C, b, c, n, lanes, rows, token, exists
        )  # fmt: skip
        next_y = _load(grad_y, b, c[None, :], token, exists & lanes[None, :])
        for done in range(blocks):
            chunk = blocks - 1 - done
            first = chunk * TOKENS
            u_l, dt, B_l, C_l = next_u, next_delta + bias[None, :], next_B, next_C
            towards = next_y
            token, exists = _block(first - TOKENS, length, TOKENS, REVERSE)
            next_u, next_delta, next_B, next_C = _read(
                u, delta, B, C, b, c, n, lanes, rows, token, exists
            )  # fmt: skip
            next_y = _load(grad_y, b, c[None, :], token, exists & lanes[None, :])
            token, exists = _block(first, length, TOKENS, REVERSE)
            inside = exists & lanes[None, :]
            state = _load(starts, b, kept, chunk, tile)
            if SOFTPLUS:
                slope = _sigmoid(dt)
                dt = _softplus(dt)
            decay, inflow = _discretised(dt, u_l, B_l, rate)
            before, after = inflow, inflow
            for i in tl.static_range(TOKENS):
                before = _with_row(before, i, state)
                state = _row(decay, i) * state + _row(inflow, i)
                after = _with_row(after, i, state)
            out = tl.sum(after * C_l[:, :, None], 1) + skip[None, :] * u_l
            towards = _through_gate(z, grad_z, towards, out, b, c[None, :], token, inside)
            grad_C_l = tl.sum(after * towards[:, None, :], 2)
            _store_partial(grad_C, b, n[None, :], token, exists & rows[None, :], grad_C_l)
            grad_h = towards[:, None, :] * C_l[:, :, None]
            through = before
            for i in tl.static_range(TOKENS - 1, -1, -1):
                grad = _row(grad_h, i) + carry
                grad_h = _with_row(grad_h, i, grad)
                carry = _row(decay, i) * grad
                through = _with_row(through, i, carry * _row(before, i))
            grad_B_l = tl.sum(grad_h * (dt * u_l)[:, None, :], 2)
            _store_partial(grad_B, b, n[None, :], token, exists & rows[None, :], grad_B_l)
            grad_inflow = tl.sum(grad_h * B_l[:, :, None], 1)
            sum_A += tl.sum(through * dt[:, None, :], 0)
            # A, the derivative of dt A by dt, is rate / log2(e)
            grad_dt = tl.sum(through * rate[None, :, :], 1) / LOG2_E + grad_inflow * u_l
            if SOFTPLUS:
                grad_dt *= slope
            sum_D += towards * u_l
            sum_bias += grad_dt
            _store(grad_u, b, c[None, :], token, inside, dt * grad_inflow + skip[None, :] * towards)
            _store(grad_delta, b, c[None, :], token, inside, grad_dt)
        _store(grad_A, b, c[None, :], n[:, None], tile, sum_A)
        tl.store(grad_D + b * d_inner + c, tl.sum(sum_D, 0), mask=lanes)
        tl.store(grad_bias + b * d_inner + c, tl.sum(sum_bias, 0), mask=lanes)
