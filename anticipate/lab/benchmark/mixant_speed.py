"""The full MixANT of the paper's Breakfast recipe: denoising and training steps, forecasts."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from anticipate.diffusion.objective import reconstruction_loss
from anticipate.diffusion.schedule import Sampler
from anticipate.lab.benchmark.timing import Candidate, Group, compare, peak_memory
from anticipate.models import DiffusionAnticipator
from anticipate.nn.denoiser import FiLM, TimeEmbedding
from anticipate.nn.mixant import MixANT, Router, load_balancing_loss
from anticipate.types import DenseBatch

NUM_CLASSES, FEATURE_DIM = 48, 2048
OBSERVED_SHARE = 2 / 7
"""Of the tokens: 20 % of the video are observed, 50 % anticipated."""
PER_VIDEO = (Router, FiLM, TimeEmbedding)
"""Modules whose products are per video, not per token."""
SOLVERS: tuple[tuple[Sampler, int], ...] = (
    ("ddim", 50),
    ("ddim", 25),
    ("ddim", 10),
    ("ddim", 5),
    ("dpmsolver++", 10),
    ("unipc", 10),
)
"""Solvers and steps; the first is the protocol of the papers."""
BALANCING = 0.1
"""Weight of the load balancing loss, as in the recipe."""
BACKENDS = {"anticipate": "auto", "on the reference scan": "reference"}


class Inputs(NamedTuple):
    """What a denoiser reads, without padding."""

    features: Float[Tensor, "batch observed_tokens feature"]
    x_t: Float[Tensor, "batch tokens classes"]
    t: Int[Tensor, " batch"]
    observed: Bool[Tensor, "batch tokens"]
    valid: Bool[Tensor, "batch tokens"]


def block(quick: bool, repeats: int) -> list[Group]:
    """Measure one denoising step of 25 samples of a video of 490 tokens, and its growth."""
    batch, tokens = (3, 21) if quick else (25, 490)
    network = make_network(quick)
    step = denoising_step(network, make_inputs(network, batch, tokens))
    products = {"its matrix products alone (torch.mm)": _products(network, batch * tokens)}
    networks = {name: make_network(quick, scan_backend=one) for name, one in BACKENDS.items()}
    samples = (1, 2) if quick else (1, 5, 10, 25, 50)
    mixtures = {n: make_network(quick, num_experts=n) for n in range(1, 3 if quick else 9)}
    by_backend = {
        name: denoising_step(network, make_inputs(network, batch, tokens))
        for name, network in networks.items()
    }
    by_samples = {
        f"{n} samples": denoising_step(network, make_inputs(network, n, tokens)) for n in samples
    }
    by_experts = {
        f"{n} experts": denoising_step(mixture, make_inputs(mixture, batch, tokens))
        for n, mixture in mixtures.items()
    }
    title, size = "denoising step", f"{batch} samples, {tokens} tokens"
    return [
        compare(f"{title}, {size}", products | {title: step}, repeats, same=False),
        compare(f"{title}, {size}", by_backend, repeats),
        compare(f"{title} by samples, {tokens} tokens", by_samples, repeats, same=False),
        compare(f"{title} by experts, {size}", by_experts, repeats, same=False),
    ]


def sample(quick: bool, repeats: int) -> list[Group]:
    """Measure forecasts of 25 samples of a video of 490 tokens: time, not quality."""
    samples, tokens = (2, 21) if quick else (25, 490)
    solvers = (("ddim", 2), ("unipc", 2)) if quick else SOLVERS
    network = make_network(quick)
    candidates = {
        f"{sampler}, {steps} steps": forecast(network, tokens, sampler, steps, samples)
        for sampler, steps in solvers
    }
    title = f"prediction, {samples} samples of one video of {tokens} tokens"
    return [compare(title, candidates, repeats, same=False)]


def train(quick: bool, repeats: int) -> list[Group]:
    """Measure a training step of 16 videos of 240 tokens, and of twice as many tokens."""
    batch, tokens = (3, 14) if quick else (16, 240)
    by_backend = {name: training_step(quick, batch, tokens, one) for name, one in BACKENDS.items()}
    lengths = (tokens, 2 * tokens)
    by_length = {f"{n} tokens": training_step(quick, batch, n) for n in lengths}
    figures = {
        f"{n} tokens": peak_memory(training_step, (False, 1, 16), (False, batch, n))
        for n in (() if quick else lengths)
    }
    title = f"training step, batch {batch}"
    return [
        compare(f"{title}, {tokens} tokens", by_backend, repeats),
        compare(f"{title}, by length", by_length, repeats, figures, same=False),
    ]


def make_network(quick: bool, num_experts: int = 5, scan_backend: str = "auto") -> MixANT:
    """Return MixANT with 15 blocks, or with 2 narrow ones."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"num_experts": num_experts, "scan_backend": scan_backend}
    # As after training: experts that differ, and below, blocks that matter to the result.
    settings["expert_init"] = "spread"
    if quick:
        small: dict[str, Any] = {"d_model": 8, "num_layers": 2, "num_static_layers": 1}
        network = MixANT(num_classes=5, feature_dim=8, **small, **settings)
    else:
        network = MixANT(NUM_CLASSES, FEATURE_DIM, **settings)
    for name, parameter in network.named_parameters():
        if name.endswith("layer_scale"):
            nn.init.ones_(parameter)
    return network


def make_inputs(network: MixANT, batch: int, tokens: int) -> Inputs:
    """Return random inputs for a network."""
    generator = torch.Generator().manual_seed(0)
    num_observed = round(OBSERVED_SHARE * tokens)
    feature_dim = network.feature_proj.in_features
    return Inputs(
        features=torch.randn(batch, num_observed, feature_dim, generator=generator),
        x_t=torch.randn(batch, tokens, network.num_classes, generator=generator),
        t=torch.full((batch,), 500),
        observed=(torch.arange(tokens) < num_observed).expand(batch, tokens),
        valid=torch.ones(batch, tokens, dtype=torch.bool),
    )


def denoising_step(network: MixANT, inputs: Inputs) -> Candidate:
    """Return one estimate of x_0 as a function; the features are projected before."""
    features, x_t, t, observed, valid = inputs
    network.eval()
    with torch.no_grad():
        condition = network.encode(features, observed)

    @torch.no_grad()
    def step() -> Tensor:
        return network(x_t, t, condition, observed, valid, x_t).x_0

    return step


def token_products(network: MixANT) -> Iterator[nn.Linear]:
    """Yield the linear maps that a denoising step applies to every token."""
    others = {
        part
        for module in network.modules()
        if isinstance(module, PER_VIDEO)
        for part in module.modules()
    }
    for module in network.modules():
        if isinstance(module, nn.Linear) and module not in {*others, network.feature_proj}:
            yield module


def _products(network: MixANT, rows: int) -> Candidate:
    factors = [
        (torch.randn(rows, linear.in_features), linear.weight.detach().T)
        for linear in token_products(network)
    ]

    def multiply() -> None:
        for left, right in factors:
            torch.mm(left, right)

    return multiply


def forecast(network: MixANT, tokens: int, sampler: Sampler, steps: int, samples: int) -> Candidate:
    """Return a model's forecast of one video as a function."""
    inputs = make_inputs(network, 1, tokens)
    batch = DenseBatch(
        features=inputs.features,
        targets=torch.zeros(1, tokens, dtype=torch.int64),
        observed=inputs.observed,
        valid=inputs.valid,
        frame_targets=torch.zeros(1, 0, dtype=torch.int64),
        num_frames=torch.tensor([3 * tokens * 10 // 7]),
        obs_ratios=(0.2,),
        video_ids=("video",),
    )
    model = DiffusionAnticipator(
        num_classes=network.num_classes,
        feature_dim=inputs.features.shape[2],
        sample_rate=3,
        denoiser=lambda num_classes, feature_dim: network,
        sampler=sampler,
        num_inference_steps=steps,
        num_samples=samples,
    ).eval()
    return lambda: model.forecast(batch)


def training_step(quick: bool, batch: int, tokens: int, scan_backend: str = "auto") -> Candidate:
    """Return forward, loss, backward and the step of the optimizer as a function.

    The loss is that of the recipe; the learning rate is small, so that two models stay comparable.
    """
    network = make_network(quick, scan_backend=scan_backend)
    features, x_t, t, observed, valid = make_inputs(network, batch, tokens)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)
    x_0 = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(1))

    def step() -> Tensor:
        optimizer.zero_grad()
        output = network(x_t, t, network.encode(features, observed), observed, valid)
        reconstruction = reconstruction_loss(x_0, output.x_0, valid)
        loss = (1 - BALANCING) * reconstruction + BALANCING * load_balancing_loss(output.gamma)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
