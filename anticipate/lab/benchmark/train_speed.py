"""One training step of MixANT, compared with the same model on slower scans, and its growth."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from anticipate.diffusion.objective import reconstruction_loss
from anticipate.lab.benchmark.peers import mamba_ssm_reference
from anticipate.lab.benchmark.random_mixant import make_inputs, make_network, scan_with
from anticipate.lab.benchmark.speed_table import MIB, Group, Report
from anticipate.lab.benchmark.timing import compare, peak_memory, without_result
from anticipate.nn.mixant import load_balancing_loss
from anticipate.nn.scan.inputs import ScanInputs

BALANCING = 0.1
"""Weight of the load balancing loss, as in the recipe."""


def run(quick: bool, repeats: int) -> Report:
    """Measure a step of 16 videos of 240 tokens, and of twice as many tokens."""
    batch, tokens = (3, 14) if quick else (16, 240)
    return Report(
        (
            scans(quick, batch, tokens, repeats),
            peer(quick, batch, tokens // 2),
            by_length(quick, batch, (tokens, 2 * tokens), repeats),
        )
    )


def scans(quick: bool, batch: int, tokens: int, repeats: int) -> Group:
    """Compare a step with the same model on the reference scan."""
    candidates = {
        "anticipate": training_step(quick, batch, tokens),
        "on the reference scan": training_step(quick, batch, tokens, scan_backend="reference"),
    }
    return compare(f"training step, batch {batch}, {tokens} tokens", candidates, repeats)


def peer(quick: bool, batch: int, tokens: int) -> Group:
    """Compare a step with the same model on mamba_ssm's plain PyTorch scan.

    Going back through its loop over tokens takes time by the square of their number: few of them,
    and one round.
    """
    candidates = {
        "anticipate": training_step(quick, batch, tokens),
        "on mamba_ssm's reference scan": training_step(quick, batch, tokens, mamba_ssm_reference),
    }
    return compare(f"training step, batch {batch}, {tokens} tokens, once", candidates, repeats=1)


def by_length(quick: bool, batch: int, lengths: Sequence[int], repeats: int) -> Group:
    """Measure time and peak memory of a step at several lengths."""
    candidates = {f"{n} tokens": without_result(training_step(quick, batch, n)) for n in lengths}
    figures = {} if quick else {f"{n} tokens": _memory_figure(batch, n) for n in lengths}
    return compare(f"training step by length, batch {batch}", candidates, repeats, figures)


def training_step(
    quick: bool,
    batch: int,
    tokens: int,
    scan: Callable[[ScanInputs], Tensor] | None = None,
    scan_backend: str = "auto",
) -> Callable[[], Tensor]:
    """Return forward, loss, backward and the step of the optimizer as a function.

    The loss is that of the recipe; the learning rate is small, so that two models stay comparable.
    """
    network = make_network(quick, scan_backend=scan_backend)
    if scan is not None:
        scan_with(network, scan)
    inputs = make_inputs(network, batch, tokens)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)
    x_0 = torch.randn(inputs.x_t.shape, generator=torch.Generator().manual_seed(1))

    def step() -> Tensor:
        optimizer.zero_grad()
        condition = network.encode(inputs.features, inputs.observed)
        output = network(inputs.x_t, inputs.t, condition, inputs.observed, inputs.valid)
        reconstruction = reconstruction_loss(x_0, output.x_0, inputs.valid)
        loss = (1 - BALANCING) * reconstruction + BALANCING * load_balancing_loss(output.gamma)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _memory_figure(batch: int, tokens: int) -> dict[str, float]:
    peak = peak_memory(training_step, (False, 1, 16), (False, batch, tokens))
    return {} if peak is None else {"peak MiB": peak / MIB}
