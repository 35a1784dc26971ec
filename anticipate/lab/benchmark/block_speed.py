"""One denoising step of MixANT, compared with its matrix products and the reference scan."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from anticipate.lab.benchmark.random_mixant import Inputs, make_inputs, make_network
from anticipate.lab.benchmark.speed_table import Group, Report
from anticipate.lab.benchmark.timing import compare, without_result
from anticipate.nn.denoiser import FiLM, TimeEmbedding
from anticipate.nn.mixant import MixANT, Router

PER_VIDEO = (Router, FiLM, TimeEmbedding)
"""Modules whose products are per video, not per token."""

Step = Callable[[], Tensor]


def run(quick: bool, repeats: int) -> Report:
    """Measure one step of 25 samples of a video of 490 tokens, and its growth."""
    batch, tokens = (3, 21) if quick else (25, 490)
    samples = (1, 2) if quick else (1, 5, 10, 25, 50)
    experts = (1, 2) if quick else (1, 2, 3, 4, 5, 6, 7, 8)
    network = make_network(quick)
    return Report(
        (
            products(network, batch, tokens, repeats),
            scans(quick, batch, tokens, repeats),
            by_samples(network, samples, tokens, repeats),
            by_experts(quick, experts, batch, tokens, repeats),
        )
    )


def products(network: MixANT, batch: int, tokens: int, repeats: int) -> Group:
    """Compare a step with the matrix products that it cannot do without."""
    factors = [
        (torch.randn(batch * tokens, linear.in_features), linear.weight.detach().T)
        for linear in token_products(network)
    ]

    def multiply() -> None:
        for left, right in factors:
            torch.mm(left, right)

    step = without_result(denoising_step(network, make_inputs(network, batch, tokens)))
    candidates = {"its matrix products alone (torch.mm)": multiply, "denoising step": step}
    return compare(f"denoising step, {batch} samples, {tokens} tokens", candidates, repeats)


def scans(quick: bool, batch: int, tokens: int, repeats: int) -> Group:
    """Compare a step with the same network on the reference scan."""
    names = {"anticipate": "auto", "on the reference scan": "reference"}
    networks = {name: make_network(quick, scan_backend=one) for name, one in names.items()}
    candidates = {
        name: denoising_step(network, make_inputs(network, batch, tokens))
        for name, network in networks.items()
    }
    return compare(f"denoising step, {batch} samples, {tokens} tokens", candidates, repeats)


def by_samples(network: MixANT, samples: Sequence[int], tokens: int, repeats: int) -> Group:
    """Time a step with more and more samples."""
    candidates = {
        f"{n} samples": without_result(denoising_step(network, make_inputs(network, n, tokens)))
        for n in samples
    }
    return compare(f"denoising step by samples, {tokens} tokens", candidates, repeats)


def by_experts(quick: bool, experts: Sequence[int], batch: int, tokens: int, repeats: int) -> Group:
    """Time a step with more and more experts: the scan's work stays the same."""
    networks = {n: make_network(quick, num_experts=n) for n in experts}
    candidates = {
        f"{n} experts": without_result(denoising_step(network, make_inputs(network, batch, tokens)))
        for n, network in networks.items()
    }
    title = f"denoising step by experts, {batch} samples, {tokens} tokens"
    return compare(title, candidates, repeats)


def denoising_step(network: MixANT, inputs: Inputs) -> Step:
    """Return one estimate of x_0 as a function; the features are projected before."""
    network.eval()
    with torch.no_grad():
        condition = network.encode(inputs.features, inputs.observed)
    return partial(_step, network, inputs, condition)


def token_products(network: MixANT) -> Iterator[nn.Linear]:
    """Yield the linear maps that a denoising step applies to every token."""
    per_video = {
        part
        for module in network.modules()
        if isinstance(module, PER_VIDEO)
        for part in module.modules()
    }
    for module in network.modules():
        per_token = module is not network.feature_proj and module not in per_video
        if isinstance(module, nn.Linear) and per_token:
            yield module


@torch.no_grad()
def _step(network: MixANT, inputs: Inputs, condition: Tensor) -> Tensor:
    x_t, t, observed, valid = inputs.x_t, inputs.t, inputs.observed, inputs.valid
    return network(x_t, t, condition, observed, valid, x_t).x_0
