"""Scans that one would use otherwise, for the same inputs as `anticipate.nn.selective_scan`.

Both form (batch, length, d_inner, d_state) tensors. The inputs have D, delta_bias and softplus, no
gate, and A per sample: what a layer of MixANT hands to its scan.
"""

from importlib.util import find_spec

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anticipate.nn.scan.inputs import ScanInputs

TENSORS = 6
"""Tensors of the large kind that a peer holds at once, about."""


def has_mambapy() -> bool:
    """Return whether the package `mambapy` is installed."""
    return find_spec("mambapy") is not None


def mamba_ssm_reference(x: ScanInputs) -> Float[Tensor, "batch d_inner length"]:
    """Scan as the pure PyTorch reference of mamba_ssm does: discretise all, then loop over time."""
    dt = _time_step(x)
    decay = torch.exp(torch.einsum("bdl,bdn->bldn", dt, x.A))
    inflow = torch.einsum("bdl,bnl->bldn", dt * x.u, x.B)
    state = torch.zeros_like(inflow[:, 0])
    outputs = []
    for token in range(decay.shape[1]):
        state = decay[:, token] * state + inflow[:, token]
        outputs.append(torch.einsum("bdn,bn->bd", state, x.C[..., token]))
    return _skip(x, torch.stack(outputs, dim=2))


def mambapy_scan(x: ScanInputs) -> Float[Tensor, "batch d_inner length"]:
    """Scan with the parallel scan of mambapy: 2 log2(length) passes over all states."""
    from mambapy.pscan import pscan

    dt = _time_step(x).mT
    decay = torch.exp(dt[..., None] * x.A[:, None])
    inflow = (dt * x.u.mT)[..., None] * x.B.mT[:, :, None]
    states = pscan(decay, inflow)
    return _skip(x, torch.einsum("bldn,bnl->bdl", states, x.C))


def _time_step(x: ScanInputs) -> Float[Tensor, "batch d_inner length"]:
    return F.softplus(x.delta if x.delta_bias is None else x.delta + x.delta_bias[:, None])


def _skip(x: ScanInputs, y: Tensor) -> Tensor:
    return y if x.D is None else y + x.D[:, None] * x.u
