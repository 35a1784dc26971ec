"""The benchmarks on a GPU: time by the wall, on the device alone, kernels launched and memory."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from anticipate.diffusion.objective import reconstruction_loss
from anticipate.diffusion.sampling import sample as sample_futures
from anticipate.diffusion.schedule import make_scheduler
from anticipate.errors import ConfigError
from anticipate.lab.benchmark.mixant_speed import BALANCING, Inputs, make_network
from anticipate.lab.benchmark.mixant_speed import make_inputs as make_network_inputs
from anticipate.lab.benchmark.scan_speed import make_inputs as make_scan_inputs
from anticipate.lab.benchmark.timing import MIB, Group, Row
from anticipate.nn import AGA, MixANT
from anticipate.nn.cuda_graphs import Accelerate, GraphedDenoiser, GraphedTraining
from anticipate.nn.mixant import load_balancing_loss
from anticipate.nn.scan import selective_scan, selective_scan_pair

Work = Callable[[], Any]

REPLAYS = 20
"""Replays of a graph that the time on the device is taken over."""
LONGEST_PROFILED = 0.2
"""Seconds of the longest work whose kernels are counted, which takes a hundred times as long."""
COMPILED = "auto, compiled"
ACCELERATE = ("none", "auto", COMPILED)
"""By kernels, by graphs, and by graphs of compiled blocks, as in long jobs."""
PRODUCTS = ("gemm", "gemv", "cutlass", "xmma")
"""Parts of the names of kernels that are matrix products."""


def run(name: str, quick: bool, repeats: int, device: str = "cuda") -> list[Group]:
    """Measure on a device.

    Args:
        name: One of `BENCHMARKS`.
        quick: Whether sizes are tiny, to see that it runs.
        repeats: Rounds of measuring.
        device: `cuda`; on a `cpu` there are only times by the wall.

    Raises:
        ConfigError: There is no such device, or this benchmark is for CPUs alone.
    """
    if name not in BENCHMARKS:
        raise ConfigError(f"benchmark {name} is for CPUs: expected one of {', '.join(BENCHMARKS)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device was found: leave --device out to measure on the CPU")
    with torch._dynamo.config.patch(recompile_limit=64):  # one process has all variants
        groups = BENCHMARKS[name](quick, torch.device(device))
        return [compare(title, works, repeats) for title, works in groups.items()]


def describe() -> dict[str, str]:
    """Return the card and the versions that figures belong to."""
    if not torch.cuda.is_available():
        return {"gpu": "none"}
    triton = "missing" if find_spec("triton") is None else __import__("triton").__version__
    cuda = torch.version.cuda or "unknown"
    return {"gpu": torch.cuda.get_device_name(), "cuda": cuda, "triton": triton}


def compare(title: str, works: Mapping[str, Work], repeats: int) -> Group:
    """Measure works one after the other; the first one is what the others are compared with.

    Args:
        title: What is measured.
        works: What to run, by name.
        repeats: Rounds of measuring.
    """
    times = {name: _wall(work, repeats) for name, work in works.items()}
    first = median(next(iter(times.values())))
    rows = (
        Row(
            name,
            median(taken),
            min(taken),
            median(taken) / first,
            _figures(works[name], min(taken)),
        )
        for name, taken in times.items()
    )
    return Group(title, tuple(rows))


def _wall(work: Work, repeats: int) -> list[float]:
    taken = []
    for attempt in range(repeats + 3):  # the first ones compile, and capture
        _finish()
        start = time.perf_counter()
        work()
        _finish()
        if attempt >= 3:
            taken.append(time.perf_counter() - start)
    return taken


def _figures(work: Work, seconds: float) -> dict[str, float]:
    """Return time on the device, kernels and peak memory; on a CPU there is none of them."""
    if not torch.cuda.is_available():
        return {}
    torch.cuda.reset_peak_memory_stats()
    work()
    _finish()
    figures = {"peak MiB": torch.cuda.max_memory_allocated() / MIB}
    if seconds > LONGEST_PROFILED:
        return figures
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        work()
        _finish()
    events = [event for event in recorded.events() if event.device_type.name == "CUDA"]
    figures["kernels"] = len(events)
    figures["device ms"] = sum(event.device_time_total for event in events) / 1e3
    products = (event for event in events if any(part in event.name for part in PRODUCTS))
    figures["products ms"] = sum(event.device_time_total for event in products) / 1e3
    calls = (event for event in recorded.events() if "aunch" in event.name)
    figures["launches"] = sum(event.name.startswith(("cuda", "cu")) for event in calls)
    return figures


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _replayed(work: Work, device: torch.device) -> Work:
    """Return `REPLAYS` replays of a CUDA graph of some work; the work itself on a CPU."""
    if device.type != "cuda":
        return work
    for _ in range(3):
        work()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()

    def replay() -> None:
        for _ in range(REPLAYS):
            graph.replay()

    return replay


def scan(quick: bool, device: torch.device) -> dict[str, dict[str, Work]]:
    """Measure the scan: ours and, where it is installed, mamba_ssm's."""
    backends = ["auto", *(["mamba_ssm"] if find_spec("mamba_ssm") else [])]
    groups: dict[str, dict[str, Work]] = {}
    for batch, tokens in ((2, 9),) if quick else ((25, 490), (16, 240), (25, 2270)):
        size = f"batch {batch}, {tokens} tokens"
        forward = {name: _scan(batch, tokens, name, device) for name in backends}
        groups[f"scan forward, {size}"] = forward
        replays = {name: _replayed(work, device) for name, work in forward.items()}
        groups[f"scan forward, {size}, {REPLAYS} replays"] = replays
        groups[f"scan forward and backward, {size}"] = {
            name: _scan(batch, tokens, name, device, gradients=True) for name in backends
        }
        pair = _pair(batch, tokens, device)
        groups[f"both directions of a layer, forward, {size}, {REPLAYS} replays"] = {
            name: _replayed(pair(together), device)
            for name, together in (("one launch", True), ("two launches", False))
        }
    return groups


def _scan(
    batch: int, tokens: int, backend: str, device: torch.device, gradients: bool = False
) -> Work:
    x = make_scan_inputs(batch, tokens).map(lambda tensor: tensor.to(device))
    if not gradients:
        return lambda: selective_scan(*x, backend=backend)
    x = x.map(Tensor.requires_grad_)
    inputs = [tensor for tensor in x.tensors() if tensor is not None]
    direction = torch.ones_like(x.u)
    return lambda: torch.autograd.grad(selective_scan(*x, backend=backend), inputs, direction)


def _pair(batch: int, tokens: int, device: torch.device) -> Callable[[bool], Work]:
    one = make_scan_inputs(batch, tokens).map(lambda tensor: tensor.to(device))
    scans = (one, one._replace(reverse=True))
    return lambda together: lambda: selective_scan_pair(scans, together)


def block(quick: bool, device: torch.device) -> dict[str, dict[str, Work]]:
    """Measure a denoising step by kernels and by graphs, in float32 and with TF32 products."""
    groups: dict[str, dict[str, Work]] = {}
    for batch, tokens in ((2, 9),) if quick else ((25, 490), (25, 2270)):
        network, inputs = _network(quick, batch, tokens, device)
        step = {name: _denoising(network, inputs, name) for name in ACCELERATE}
        works = {f"accelerate {name}": work for name, work in step.items()}
        works[f"accelerate {COMPILED}, TF32"] = _tf32(_denoising(network, inputs, COMPILED))
        groups[f"denoising step, {batch} samples, {tokens} tokens"] = works
    return groups


def _network(quick: bool, batch: int, tokens: int, device: torch.device) -> tuple[MixANT, Inputs]:
    network = make_network(quick)
    inputs = Inputs(*(x.to(device) for x in make_network_inputs(network, batch, tokens)))
    return network.to(device), inputs


def _graphed(network: MixANT, accelerate: str) -> GraphedDenoiser:
    """Return a copy of a network that runs in one of the ways of `ACCELERATE`."""
    graphed = GraphedDenoiser(copy.deepcopy(network), "none" if accelerate == "none" else "auto")
    if accelerate == COMPILED and next(network.parameters()).is_cuda:
        graphed.compile()
    return graphed


def _denoising(network: MixANT, inputs: Inputs, accelerate: str) -> Work:
    graphed = _graphed(network.eval(), accelerate)
    features, x_t, t, observed, valid = inputs

    @torch.no_grad()
    def work() -> Tensor:
        condition = network.encode(features, observed)
        return graphed(x_t, t, condition, observed, valid, x_t).x_0

    return work


def _tf32(work: Work) -> Work:
    """Let the matrix products of some work round their factors to TF32."""

    def rounded() -> Any:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            return work()
        finally:
            torch.set_float32_matmul_precision(before)

    return rounded


def sample(quick: bool, device: torch.device) -> dict[str, dict[str, Work]]:
    """Measure 50 DDIM steps of 25 futures."""
    groups: dict[str, dict[str, Work]] = {}
    steps = 2 if quick else 50
    for batch, tokens in ((2, 9),) if quick else ((25, 490), (25, 2270)):
        network, inputs = _network(quick, batch, tokens, device)
        works = {f"accelerate {one}": _sampling(network, inputs, one, steps) for one in ACCELERATE}
        groups[f"{batch} futures, {steps} DDIM steps, {tokens} tokens"] = works
    return groups


def _sampling(network: MixANT, inputs: Inputs, accelerate: str, steps: int) -> Work:
    graphed = _graphed(network.eval(), accelerate)
    features, noise, _, observed, valid = inputs

    @torch.no_grad()
    def work() -> Tensor:
        condition = network.encode(features, observed)

        def denoise(x_t: Tensor, t: Tensor, previous: Tensor | None) -> Tensor:
            return graphed(x_t, t, condition, observed, valid, previous).x_0

        return sample_futures(denoise, noise, make_scheduler("ddim", 1000, steps))

    return work


def train(quick: bool, device: torch.device) -> dict[str, dict[str, Work]]:
    """Measure a training step of MixANT."""
    batch, tokens = (2, 9) if quick else (16, 700)
    works = {
        f"accelerate {one}": _training(quick, batch, tokens, one, device) for one in ACCELERATE
    }
    return {f"training step, batch {batch}, {tokens} tokens": works}


def _training(quick: bool, batch: int, tokens: int, accelerate: str, device: torch.device) -> Work:
    network, inputs = _network(quick, batch, tokens, device)
    features, x_t, t, observed, valid = inputs
    graphed = _graphed(network.train(), accelerate)
    network = graphed.network
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)
    x_0 = torch.randn_like(x_t)

    def work() -> Tensor:
        optimizer.zero_grad()
        output = graphed(x_t, t, network.encode(features, observed), observed, valid)
        reconstruction = reconstruction_loss(x_0, output.x_0, valid)
        loss = (1 - BALANCING) * reconstruction + BALANCING * load_balancing_loss(output.gamma)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return work


def aga(quick: bool, device: torch.device) -> dict[str, dict[str, Work]]:
    """Measure training steps of AGA, in float32 and with TF32 products."""
    sizes: Sequence[int] = (2,) if quick else (8, 64, 128)
    groups: dict[str, dict[str, Work]] = {}
    for batch in sizes:
        works = {f"accelerate {one}": _aga(quick, batch, device, one) for one in ("none", "auto")}
        groups[f"AGA training step, batch {batch}, 30 steps"] = {
            **works,
            "accelerate auto, TF32": _tf32(_aga(quick, batch, device, "auto")),
        }
    return groups


def _aga(quick: bool, batch: int, device: torch.device, accelerate: Accelerate) -> Work:
    network = (AGA(7, 12, hidden_dim=32) if quick else AGA(3806, 1024)).to(device).train()
    graphed = GraphedTraining(network, accelerate)
    features = torch.randn(batch, 30, 12 if quick else 1024, device=device)
    targets = torch.arange(batch * 30, device=device) % network.num_classes
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-4, fused=True)

    def work() -> None:
        optimizer.zero_grad()
        F.cross_entropy(graphed(features).flatten(0, 1), targets).backward()
        optimizer.step()

    return work


BENCHMARKS = {"scan": scan, "block": block, "sample": sample, "train": train, "aga": aga}
