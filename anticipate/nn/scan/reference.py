"""The selective scan in plain PyTorch: the truth for every other backend, in float32 or float64.

Recurrence (Mamba's code: exact exponential for A, Euler for B) of each sample, channel and state n:

    h_l = exp(dt_l A) h_{l-1} + dt_l u_l B_l        y_l = (sum_n C_l h_l + D u_l) SiLU(z_l)

Only the state at the start of every chunk of tokens is kept; backward computes the states of one
chunk again, so memory grows with batch * length * d_inner, never times d_state.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from anticipate.nn.scan.inputs import CHUNK, ScanInputs, empty_sequence, empty_starts

BACKEND = {"devices": ("cpu", "cuda"), "package": "torch", "install": "torch", "rank": 9}


class _Chunk(NamedTuple):
    """The inputs of a few tokens, time first so that one step is one contiguous block."""

    u: Float[Tensor, "tokens batch d_inner"]
    dt: Float[Tensor, "tokens batch d_inner"]
    A: Tensor
    B: Float[Tensor, "tokens batch d_state"]
    C: Float[Tensor, "tokens batch d_state"]
    decay: Float[Tensor, "tokens batch d_inner d_state"]


def forward(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    """Run the recurrence.

    Args:
        inputs: Checked arguments.

    Returns:
        y (batch, d_inner, length) in the dtype of `u`, and the state at the start of each chunk,
        (chunks, batch, d_state, d_inner), for `backward`.
    """
    x = inputs.as_float()
    y = empty_sequence(x.u)
    batch, d_inner, length = x.u.shape
    state = x.u.new_zeros(batch, d_inner, x.B.shape[1])
    starts = empty_starts(x)
    for index, tokens in enumerate(_chunks(length, x.reverse)):
        starts[index] = state.mT
        chunk = _chunk(x, tokens)
        states = _states(chunk, state, x.reverse)
        state = states[0] if x.reverse else states[-1]
        y[..., tokens] = torch.einsum("lbdn,lbn->bdl", states, chunk.C)
    if x.D is not None:
        y.addcmul_(x.D[:, None], x.u)
    if x.z is not None:
        y.mul_(F.silu(x.z))
    return y.to(inputs.u.dtype), starts


def backward(grad_y: Tensor, starts: Tensor, inputs: ScanInputs) -> list[Tensor | None]:
    """Differentiate the recurrence.

    Args:
        grad_y: Gradient of y, (batch, d_inner, length).
        starts: Second result of `forward`.
        inputs: Arguments of `forward`.

    Returns:
        Gradients of `inputs.tensors()` in their dtypes.
    """
    x = inputs.as_float()
    grad_y = grad_y.to(x.u.dtype)
    grads = x.map(torch.zeros_like)
    grad_state = torch.zeros_like(starts[0]).mT if len(starts) else starts
    for index, tokens in reversed(list(enumerate(_chunks(x.u.shape[2], x.reverse)))):
        grad_state = _chunk_backward(x, grads, grad_y, tokens, starts[index].mT, grad_state)
    if grads.delta_bias is not None:
        grads.delta_bias.copy_(grads.delta.sum((0, 2)))
    return [
        None if grad is None or tensor is None else grad.to(tensor.dtype)
        for grad, tensor in zip(grads.tensors(), inputs.tensors(), strict=True)
    ]


def _chunks(length: int, reverse: bool) -> list[slice]:
    """Return the token ranges in the order in which the state visits them."""
    ranges = [slice(first, min(first + CHUNK, length)) for first in range(0, length, CHUNK)]
    return ranges[::-1] if reverse else ranges


def _order(count: int, reverse: bool) -> Iterable[int]:
    return range(count - 1, -1, -1) if reverse else range(count)


def _time_step(x: ScanInputs, tokens: slice) -> Tensor:
    delta = x.delta[..., tokens]
    delta = delta if x.delta_bias is None else delta + x.delta_bias[:, None]
    return F.softplus(delta) if x.delta_softplus else delta


def _chunk(x: ScanInputs, tokens: slice) -> _Chunk:
    u, dt, B, C = (
        rearrange(part, "batch width tokens -> tokens batch width")
        for part in (x.u[..., tokens], _time_step(x, tokens), x.B[..., tokens], x.C[..., tokens])
    )
    A = rearrange(x.A[..., tokens], "b d n l -> l b d n") if x.A.ndim == 4 else x.A
    return _Chunk(u, dt, A, B, C, torch.exp(dt[..., None] * A))


def _states(chunk: _Chunk, state: Tensor, reverse: bool) -> Tensor:
    """Return the state after every token, (tokens, batch, d_inner, d_state)."""
    states = (chunk.dt * chunk.u)[..., None] * chunk.B[:, :, None]
    for index in _order(len(states), reverse):
        state = states[index].addcmul_(chunk.decay[index], state)
    return states


def _chunk_backward(
    x: ScanInputs, grads: ScanInputs, grad_out: Tensor, tokens: slice, start: Tensor, carry: Tensor
) -> Tensor:
    """Add one chunk to `grads`; turn the gradient of its last state into that of its start."""
    chunk = _chunk(x, tokens)
    states = _states(chunk, start, x.reverse)
    grad_y = rearrange(_grad_y(x, grads, grad_out, tokens, states, chunk), "b d l -> l b d")
    grad_states = grad_y[..., None] * chunk.C[:, :, None]
    for index in _order(len(states), not x.reverse):
        carry = grad_states[index].add_(carry) * chunk.decay[index]
    before = (states[1:], start[None]) if x.reverse else (start[None], states[:-1])
    grad_exponent = grad_states * chunk.decay * torch.cat(before)
    _add_parameters(grads, tokens, chunk, grad_exponent)
    grads.B[..., tokens] = torch.einsum("lbdn,lbd->bnl", grad_states, chunk.dt * chunk.u)
    grads.C[..., tokens] = torch.einsum("lbdn,lbd->bnl", states, grad_y)
    grad_inflow = torch.einsum("lbdn,lbn->lbd", grad_states, chunk.B)
    grads.u[..., tokens] += rearrange(grad_inflow * chunk.dt, "l b d -> b d l")
    grad_dt = (grad_exponent * chunk.A).sum(-1) + grad_inflow * chunk.u
    grads.delta[..., tokens] = _softplus_backward(x, tokens, rearrange(grad_dt, "l b d -> b d l"))
    return carry


def _grad_y(
    x: ScanInputs, grads: ScanInputs, grad_out: Tensor, tokens: slice, states: Tensor, chunk: _Chunk
) -> Tensor:
    """Return the gradient of C h, having filled in the gradients of the gate and the skip."""
    grad_y, u = grad_out[..., tokens], x.u[..., tokens]
    if x.z is not None and grads.z is not None:
        y = torch.einsum("lbdn,lbn->bdl", states, chunk.C)
        y = y if x.D is None else y + x.D[:, None] * u
        z = x.z[..., tokens]
        gate = torch.sigmoid(z)
        grads.z[..., tokens] = grad_y * y * gate * (1 + z * (1 - gate))
        grad_y = grad_y * z * gate
    if x.D is not None and grads.D is not None:
        grads.D.add_((grad_y * u).sum((0, 2)))
        grads.u[..., tokens] = x.D[:, None] * grad_y
    return grad_y


def _add_parameters(grads: ScanInputs, tokens: slice, chunk: _Chunk, grad_exponent: Tensor) -> None:
    grad_A = grad_exponent * chunk.dt[..., None]
    if grads.A.ndim == 4:
        grads.A[..., tokens] = rearrange(grad_A, "l b d n -> b d n l")
    else:
        grads.A.add_(grad_A.sum((0, 1) if grads.A.ndim == 2 else 0))


def _softplus_backward(x: ScanInputs, tokens: slice, grad_dt: Tensor) -> Tensor:
    if not x.delta_softplus:
        return grad_dt
    bias = 0.0 if x.delta_bias is None else x.delta_bias[:, None]
    return grad_dt * torch.sigmoid(x.delta[..., tokens] + bias)
