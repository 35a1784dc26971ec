"""The selective scan, beside the reference backend and the scans of other packages.

Those form (batch, length, d_inner, d_state) tensors. The inputs have D, delta_bias and softplus, no
gate, and A per sample: what a layer of MixANT hands to its scan.
"""

from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anticipate.lab.benchmark.timing import Candidate, Group, compare, peak_memory
from anticipate.nn.scan import selective_scan
from anticipate.nn.scan.inputs import ScanInputs

Scan = Callable[[ScanInputs], Tensor]

LENGTHS = (500, 1000, 4000, 16000)
GROWTH_BATCH = 2


def run(quick: bool, repeats: int) -> list[Group]:
    """Measure forward, forward and backward, and the growth of our scans with length."""
    frames = 33 if quick else 490
    lengths = (16, 64) if quick else LENGTHS
    return [
        forward(2 if quick else 25, frames, repeats),
        forward_backward(2 if quick else 8, frames, repeats),
        *(growth(name, lengths, repeats, memory=not quick) for name in OURS),
    ]


def forward(batch: int, frames: int, repeats: int) -> Group:
    """Compare all scans without gradients."""
    x = make_inputs(batch, frames)
    scans, notes = _installed()
    candidates = {name: partial(scan, x) for name, scan in scans.items()}
    return compare(f"forward, batch {batch}, {frames} frames", candidates, repeats, notes=notes)


def forward_backward(batch: int, frames: int, repeats: int) -> Group:
    """Compare the scans with the gradients of all inputs."""
    scans, notes = _installed()
    candidates = {name: gradient_work(name, batch, frames) for name in scans}
    title = f"forward and backward, batch {batch}, {frames} frames"
    return compare(title, candidates, repeats, notes=notes)


def growth(name: str, lengths: Sequence[int], repeats: int, memory: bool) -> Group:
    """Time one scan with gradients at several lengths."""
    candidates = {f"{n} frames": gradient_work(name, GROWTH_BATCH, n) for n in lengths}
    figures = {
        f"{n} frames": peak_memory(gradient_work, (name, 1, 32), (name, GROWTH_BATCH, n))
        for n in (lengths if memory else ())
    }
    title = f"{name}, forward and backward, batch {GROWTH_BATCH}, by length"
    return compare(title, candidates, repeats, figures, same=False)


def gradient_work(name: str, batch: int, length: int) -> Candidate:
    """Return one forward and backward pass as a function."""
    x = make_inputs(batch, length).map(Tensor.requires_grad_)
    inputs = [tensor for tensor in x.tensors() if tensor is not None]

    def work() -> tuple[Tensor, ...]:
        y = SCANS[name](x)
        return (y.detach(), *torch.autograd.grad(y.sum(), inputs))

    return work


def make_inputs(batch: int, length: int, d_inner: int = 128, d_state: int = 16) -> ScanInputs:
    """Return random inputs like those of a layer: A per sample, channels contiguous."""
    generator = torch.Generator().manual_seed(0)
    normal = partial(torch.randn, generator=generator)
    return ScanInputs(
        u=normal(batch, length, d_inner).mT,
        delta=normal(batch, length, d_inner).mT,
        A=-normal(batch, d_inner, d_state).exp(),
        B=normal(batch, length, d_state).mT,
        C=normal(batch, length, d_state).mT,
        D=normal(d_inner),
        delta_bias=normal(d_inner) - 4,  # softplus then gives the small steps of a trained layer
        delta_softplus=True,
    )


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
    from mambapy.pscan import pscan  # here: the extra `bench` brings it

    dt = _time_step(x).mT
    decay = torch.exp(dt[..., None] * x.A[:, None])
    inflow = (dt * x.u.mT)[..., None] * x.B.mT[:, :, None]
    states = pscan(decay, inflow)
    return _skip(x, torch.einsum("bldn,bnl->bdl", states, x.C))


OURS: dict[str, Scan] = {
    "anticipate": lambda x: selective_scan(*x),
    "reference backend": lambda x: selective_scan(*x, backend="reference"),
}
"""The first is what `auto` chooses."""
SCANS = {
    **OURS,
    "mamba_ssm's reference": mamba_ssm_reference,
    "mambapy": mambapy_scan,
}


def _time_step(x: ScanInputs) -> Float[Tensor, "batch d_inner length"]:
    return F.softplus(x.delta if x.delta_bias is None else x.delta + x.delta_bias[:, None])


def _skip(x: ScanInputs, y: Tensor) -> Tensor:
    return y if x.D is None else y + x.D[:, None] * x.u


def _installed() -> tuple[dict[str, Scan], list[str]]:
    if find_spec("mambapy") is not None:
        return SCANS, []
    missing = "mambapy left out: not installed; install it with: pip install 'anticipate[bench]'"
    return {name: scan for name, scan in SCANS.items() if name != "mambapy"}, [missing]
