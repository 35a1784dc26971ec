"""AGA at full size: forward passes and training steps, their time and memory."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anticipate.lab.benchmark.timing import Candidate, Group, compare, peak_memory
from anticipate.nn import AGA

NUM_STEPS = 30


def run(quick: bool, repeats: int) -> list[Group]:
    """Measure 30 steps at 3,806 actions, small and large batches."""
    works = {"forward": forward, "training step": training_step}
    return [by_batch(title, make, quick, repeats) for title, make in works.items()]


def by_batch(
    title: str, make: Callable[[bool, int], Candidate], quick: bool, repeats: int
) -> Group:
    """Measure time and peak memory of one kind of work."""
    batches = (2, 3) if quick else (8, 64)
    candidates = {f"batch {n}": make(quick, n) for n in batches}
    figures = {
        f"batch {n}": peak_memory(make, (True, 2), (False, n)) for n in (() if quick else batches)
    }
    title = f"{title}, {NUM_STEPS} steps, by batch"
    return compare(title, candidates, repeats, figures, same=False)


def forward(quick: bool, batch: int) -> Candidate:
    """Return a forward pass without gradients as a function."""
    network, features = make_network(quick).eval(), make_features(quick, batch)

    @torch.no_grad()
    def work() -> Tensor:
        return network(features)

    return work


def training_step(quick: bool, batch: int) -> Candidate:
    """Return forward, loss, backward and the step of the optimizer as a function."""
    network, features = make_network(quick).train(), make_features(quick, batch)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-4)
    targets = torch.arange(batch * NUM_STEPS) % network.num_classes

    def work() -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(features).flatten(0, 1), targets).backward()
        optimizer.step()

    return work


def make_network(quick: bool) -> AGA:
    """Return AGA for the actions of EPIC-Kitchens-100, or a small one."""
    torch.manual_seed(0)
    return AGA(7, 12, hidden_dim=32) if quick else AGA(3806, 1024)


def make_features(quick: bool, batch: int) -> Float[Tensor, "batch steps feature"]:
    """Return random features."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, NUM_STEPS, 12 if quick else 1024, generator=generator)
