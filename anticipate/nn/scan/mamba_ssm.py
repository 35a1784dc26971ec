"""The selective scan by the CUDA kernel of the package mamba_ssm.

The kernel knows one A for all samples, but groups of channels with their own B and C. Where every
sample has its own A, folding the batch into the channels, one group per sample, runs all of them in
one launch. It also knows one direction only, so the reverse one flips copies.
"""

import torch
from einops import rearrange
from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
from torch import Tensor

from anticipate.nn.scan.inputs import ScanInputs, empty_starts

BACKEND = {
    "devices": ("cuda",),
    "package": "mamba_ssm",
    "install": "'anticipate[cuda]'",
    "rank": 2,
}


def forward(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    """Run the recurrence.

    Args:
        inputs: Checked arguments on a CUDA device; computed in float32.

    Returns:
        y (batch, d_inner, length) in the dtype of `u`, and memory that `backward` does not read.
    """
    y = selective_scan_fn(*_folded(inputs), delta_softplus=inputs.delta_softplus)
    return _unfold_sequence(y, inputs).to(inputs.u.dtype), empty_starts(inputs)


def backward(grad_y: Tensor, starts: Tensor, inputs: ScanInputs) -> list[Tensor | None]:
    """Differentiate the recurrence by running it again under the package's own autograd.

    Args:
        grad_y: Gradient of y, (batch, d_inner, length).
        starts: Not used.
        inputs: Arguments of `forward`.

    Returns:
        Gradients of `inputs.tensors()` in their dtypes.
    """
    leaves = [None if x is None else x.detach().requires_grad_() for x in _folded(inputs)]
    with torch.enable_grad():
        y = selective_scan_fn(*leaves, delta_softplus=inputs.delta_softplus)
    present = [leaf for leaf in leaves if leaf is not None]
    grads = iter(torch.autograd.grad(y, present, _fold_sequence(grad_y.to(y.dtype), inputs)))
    folded = [None if leaf is None else next(grads) for leaf in leaves]
    return [
        None if grad is None or tensor is None else grad.to(tensor.dtype)
        for grad, tensor in zip(_unfolded(folded, inputs), inputs.tensors(), strict=True)
    ]


def _folded(inputs: ScanInputs) -> list[Tensor | None]:
    """Return what the kernel reads; with A per sample, one sample that has all channels."""
    x = inputs.as_float()
    batch = 1 if x.A.ndim == 2 else len(x.u)
    B, C = (
        rearrange(_turn(s, x), "(s g) n l -> s g n l", g=batch).contiguous() for s in (x.B, x.C)
    )
    return [
        _fold_sequence(x.u, x),
        _fold_sequence(x.delta, x),
        x.A.reshape(-1, x.A.shape[-1]).contiguous(),
        B,
        C,
        None if x.D is None else x.D.repeat(batch),
        None if x.z is None else _fold_sequence(x.z, x),
        None if x.delta_bias is None else x.delta_bias.repeat(batch),
    ]


def _unfolded(grads: list[Tensor | None], inputs: ScanInputs) -> list[Tensor | None]:
    """Return the gradients of `inputs` from those of `_folded(inputs)`."""
    u, delta, A, B, C, D, z, delta_bias = grads
    d_inner = inputs.u.shape[1]
    return [
        None if u is None else _unfold_sequence(u, inputs),
        None if delta is None else _unfold_sequence(delta, inputs),
        None if A is None else A.reshape(inputs.A.shape),
        None if B is None else _turn(B.flatten(0, 1), inputs).contiguous(),
        None if C is None else _turn(C.flatten(0, 1), inputs).contiguous(),
        None if D is None else D.unflatten(0, (-1, d_inner)).sum(0),
        None if z is None else _unfold_sequence(z, inputs),
        None if delta_bias is None else delta_bias.unflatten(0, (-1, d_inner)).sum(0),
    ]


def _turn(x: Tensor, inputs: ScanInputs) -> Tensor:
    """Return `x` in the order in which the state visits its tokens, and back."""
    return x.flip(-1) if inputs.reverse else x


def _fold_sequence(x: Tensor, inputs: ScanInputs) -> Tensor:
    x = _turn(x, inputs).contiguous()
    return x if inputs.A.ndim == 2 else x.flatten(0, 1)[None]


def _unfold_sequence(x: Tensor, inputs: ScanInputs) -> Tensor:
    """Return (batch, d_inner, length) with contiguous channels."""
    return _turn(x.reshape(inputs.u.shape), inputs).mT.contiguous().mT
