"""What a selective scan reads, and the checks and layouts that every backend relies on."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad

from anticipate.errors import ConfigError

CHUNK = 32
"""Tokens between two states that forward keeps for backward; a backend may have its own CHUNK."""


class ScanInputs(NamedTuple):
    """Arguments of `selective_scan` in its order; strides are free."""

    u: Float[Tensor, "batch d_inner length"]
    """Sequence that drives the state."""
    delta: Float[Tensor, "batch d_inner length"]
    """Time step, before bias and softplus."""
    A: Float[Tensor, "*batch d_inner d_state"] | Float[Tensor, "batch d_inner d_state length"]
    """Shared, per sample, or (reference only) per sample and token."""
    B: Float[Tensor, "batch d_state length"]
    C: Float[Tensor, "batch d_state length"]
    D: Float[Tensor, " d_inner"] | None = None
    z: Float[Tensor, "batch d_inner length"] | None = None
    delta_bias: Float[Tensor, " d_inner"] | None = None
    delta_softplus: bool = False
    reverse: bool = False

    def map(self, function: Callable[[Tensor], Tensor]) -> "ScanInputs":
        """Return the inputs with `function` applied to every tensor."""
        D, z, delta_bias = (None if x is None else function(x) for x in self[5:8])
        u, delta, A, B, C = (function(x) for x in self[:5])
        return ScanInputs(u, delta, A, B, C, D, z, delta_bias, self.delta_softplus, self.reverse)

    def as_float(self) -> "ScanInputs":
        """Return the inputs in float32, or in float64 when `u` is float64."""
        dtype = torch.promote_types(self.u.dtype, torch.float32)
        return self.map(lambda tensor: tensor.to(dtype))

    def tensors(self) -> list[Tensor | None]:
        """Return the eight differentiable inputs; None marks an absent one."""
        return [self.u, self.delta, self.A, self.B, self.C, self.D, self.z, self.delta_bias]


def check(inputs: ScanInputs) -> None:
    """Check shapes against each other.

    Args:
        inputs: Arguments of a scan.

    Raises:
        ConfigError: A tensor has another shape than those of `u` and `A` imply, holds no real
            floating point numbers, or carries a forward-mode tangent.
    """
    tracing = torch.compiler.is_compiling()
    for name, value in zip(ScanInputs._fields, inputs, strict=True):
        if not isinstance(value, Tensor):
            continue
        if not value.is_floating_point():
            raise ConfigError(
                f"selective_scan got {name} of type {value.dtype}: expected real floating point "
                "numbers"
            )
        if (
            not tracing
            and forward_ad._current_level >= 0
            and forward_ad.unpack_dual(value).tangent is not None
        ):
            raise ConfigError(
                "selective_scan has no forward-mode derivative (jvp, jacfwd): use reverse mode "
                "(grad, vjp, jacrev)"
            )
    if inputs.u.ndim != 3 or inputs.A.ndim not in (2, 3, 4):
        raise ConfigError(
            f"selective_scan got u {_shape(inputs.u)} and A {_shape(inputs.A)}: expected u "
            "(batch, d_inner, length) and A (d_inner, d_state), (batch, d_inner, d_state) "
            "or (batch, d_inner, d_state, length)"
        )
    batch, d_inner, length = inputs.u.shape
    d_state = inputs.A.shape[1 if inputs.A.ndim == 2 else 2]
    sequence, per_state, per_channel = (
        (batch, d_inner, length),
        (batch, d_state, length),
        (d_inner,),
    )
    A_shape = (batch, d_inner, d_state, length)[inputs.A.ndim == 2 : max(3, inputs.A.ndim)]
    expected: dict[str, tuple[int, ...]] = {
        "delta": sequence,
        "A": A_shape,
        "B": per_state,
        "C": per_state,
        "D": per_channel,
        "z": sequence,
        "delta_bias": per_channel,
    }
    for name, shape in expected.items():
        tensor: Tensor | None = getattr(inputs, name)
        if tensor is not None and tensor.shape != shape:
            raise ConfigError(
                f"selective_scan got {name} of shape {_shape(tensor)}: expected {shape} "
                f"for u of shape {_shape(inputs.u)} and A of shape {_shape(inputs.A)}"
            )


def empty_starts(inputs: ScanInputs, chunk: int = CHUNK) -> Tensor:
    """Return an uninitialised (chunks, batch, d_state, d_inner) tensor for the kept states."""
    (batch, d_inner, length), d_state = inputs.u.shape, inputs.B.shape[1]
    chunks = (length + chunk - 1) // chunk
    dtype = torch.promote_types(inputs.u.dtype, torch.float32)
    return inputs.u.new_empty(chunks, batch, d_state, d_inner, dtype=dtype)


def empty_sequence(like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return an uninitialised (batch, d_inner, length) tensor with contiguous channels."""
    batch, d_inner, length = like.shape
    return like.new_empty(batch, length, d_inner, dtype=dtype).transpose(1, 2)


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
