"""The selective scan, a fused C loop, the reference backend and the scans of other packages."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from anticipate.lab.benchmark import fused_c, peers
from anticipate.lab.benchmark.speed_table import MIB, Group, Report
from anticipate.lab.benchmark.timing import compare, interleaved, peak_memory, without_result
from anticipate.nn.scan import selective_scan
from anticipate.nn.scan.inputs import ScanInputs

Scan = Callable[[ScanInputs], Tensor]

LENGTHS = (500, 1000, 4000, 16000)
GROWTH_BATCH = 2
PEER_LIMIT = 2**30
"""Bytes of states beyond which a peer, which forms all of them, is left out."""
TIME_LIMIT = 2.0
"""Seconds of a pass beyond which a peer is left out."""

SCANS: dict[str, Scan] = {
    "anticipate": lambda x: selective_scan(*x),
    "reference backend": lambda x: selective_scan(*x, backend="reference"),
    "mamba_ssm's reference": peers.mamba_ssm_reference,
    "mambapy": peers.mambapy_scan,
}
"""Scans that can be differentiated, by name; the first is what `auto` chooses."""

PEERS = (peers.mamba_ssm_reference, peers.mambapy_scan)


def run(quick: bool, repeats: int) -> Report:
    """Measure forward, forward and backward, and growth with length."""
    frames = 33 if quick else 490
    lengths = (16, 64) if quick else LENGTHS
    return Report(
        (
            forward(2 if quick else 25, frames, repeats),
            forward_backward(2 if quick else 8, frames, repeats),
            *(growth(name, lengths, repeats, memory=not quick) for name in _installed()[0]),
        )
    )


def forward(batch: int, frames: int, repeats: int) -> Group:
    """Compare all scans, the fused C loop included, without gradients."""
    x = make_inputs(batch, frames)
    scans, notes = _installed()
    fused = fused_c.build()
    if fused is None:
        notes.append("fused C loop left out: no C compiler found")
    else:
        scans["fused C loop"] = fused
    candidates = {name: partial(scan, x) for name, scan in scans.items()}
    return compare(f"forward, batch {batch}, {frames} frames", candidates, repeats, notes=notes)


def forward_backward(batch: int, frames: int, repeats: int) -> Group:
    """Compare the scans with the gradients of all inputs."""
    x = make_inputs(batch, frames).map(Tensor.requires_grad_)
    scans, notes = _installed()
    candidates = {name: partial(_with_gradients, scan, x) for name, scan in scans.items()}
    title = f"forward and backward, batch {batch}, {frames} frames"
    return compare(title, candidates, repeats, notes=notes)


def growth(name: str, lengths: Sequence[int], repeats: int, memory: bool) -> Group:
    """Time one scan with gradients at several lengths, a peer only as far as it fits."""
    fitting, notes = _fitting(name, lengths)
    titles = {length: f"{length} frames" for length in fitting}
    candidates = {titles[length]: without_result(gradient_work(name, length)) for length in fitting}
    figures = {titles[n]: _memory_figure(name, n) for n in fitting} if memory else {}
    title = f"{name}, forward and backward, batch {GROWTH_BATCH}, by length"
    return compare(title, candidates, repeats, figures, notes)


def make_inputs(batch: int, length: int, d_inner: int = 128, d_state: int = 16) -> ScanInputs:
    """Return random inputs like those of a layer: A per sample, channels contiguous."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

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


def gradient_work(name: str, length: int) -> Callable[[], Any]:
    """Prepare one forward and backward pass for a process of its own."""
    x = make_inputs(GROWTH_BATCH, length).map(Tensor.requires_grad_)
    return partial(_with_gradients, SCANS[name], x)


def _with_gradients(scan: Scan, x: ScanInputs) -> tuple[Tensor, ...]:
    y = scan(x)
    inputs = [tensor for tensor in x.tensors() if tensor is not None]
    return (y.detach(), *torch.autograd.grad(y.sum(), inputs))


def _installed() -> tuple[dict[str, Scan], list[str]]:
    if peers.has_mambapy():
        return dict(SCANS), []
    missing = "mambapy left out: not installed; install it with: pip install 'anticipate[bench]'"
    return {name: scan for name, scan in SCANS.items() if name != "mambapy"}, [missing]


def _fitting(name: str, lengths: Sequence[int]) -> tuple[list[int], list[str]]:
    """Return the lengths, ascending, that a scan is measured at, and why not at the others."""
    if SCANS[name] not in PEERS:
        return list(lengths), []
    fitting: list[int] = []
    notes = []
    rate = 0.0  # seconds by the square of the length: a loop over slices goes back that slowly
    for length in lengths:
        if _peer_bytes(length) > PEER_LIMIT:
            gibibytes = _peer_bytes(length) / 2**30
            notes.append(f"{length} frames left out: about {gibibytes:.1f} GiB of states")
        elif rate * length**2 > TIME_LIMIT:
            notes.append(f"{length} frames left out: up to {rate * length**2:.0f} s per pass")
        else:
            rate = interleaved({name: gradient_work(name, length)}, 1)[name][0] / length**2
            fitting.append(length)
    return fitting, notes


def _peer_bytes(length: int) -> int:
    return 4 * peers.TENSORS * GROWTH_BATCH * length * 128 * 16


def _memory_figure(name: str, length: int) -> dict[str, float]:
    peak = peak_memory(gradient_work, (name, 32), (name, length))
    return {} if peak is None else {"peak MiB": peak / MIB}
