"""AGA at full size, compared with encoding its whole queue again at every step."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anticipate.lab.benchmark.aga_reencoding import ReencodingAGA
from anticipate.lab.benchmark.speed_table import MIB, Group, Report
from anticipate.lab.benchmark.timing import Candidate, compare, peak_memory
from anticipate.nn import aga_from_reference

NUM_STEPS = 30
OURS, THEIRS = "anticipate", "queue encoded again"

Make = Callable[[bool, str, int], Candidate]
"""Prepares the work of one network: quick, its name, batch."""


def run(quick: bool, repeats: int) -> Report:
    """Measure forward passes and training steps at 3,806 actions, small and large batches."""
    small, large = (2, 3) if quick else (8, 64)
    fewer = max(1, repeats // 2)
    return Report(
        (
            measure("forward", forward, quick, small, repeats),
            measure("forward", forward, quick, large, fewer),
            measure("training step", training_step, quick, small, repeats),
            measure("training step", training_step, quick, large, fewer),
        )
    )


def measure(title: str, make: Make, quick: bool, batch: int, repeats: int) -> Group:
    """Compare time and peak memory of both networks."""
    candidates = {name: make(quick, name, batch) for name in (OURS, THEIRS)}
    figures = {} if quick else {name: _memory(make, name, batch) for name in candidates}
    title = f"{title}, batch {batch}, {NUM_STEPS} steps"
    return compare(title, candidates, repeats, figures, [f"{repeats} rounds"])


def forward(quick: bool, name: str, batch: int) -> Candidate:
    """Return a forward pass without gradients as a function."""
    network, features = make_network(quick, name).eval(), make_features(quick, batch)

    @torch.no_grad()
    def work() -> Tensor:
        return network(features)

    return work


def training_step(quick: bool, name: str, batch: int) -> Candidate:
    """Return forward, loss, backward and the step of the optimizer as a function.

    Dropout is on, as in the recipe, so there is no result that two networks share.
    """
    network, features = make_network(quick, name).train(), make_features(quick, batch)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-4)
    targets = torch.arange(batch * NUM_STEPS) % _sizes(quick)[0]

    def work() -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(features).flatten(0, 1), targets).backward()
        optimizer.step()

    return work


def make_network(quick: bool, name: str) -> nn.Module:
    """Return one of both networks; they have equal weights."""
    torch.manual_seed(0)
    theirs = ReencodingAGA(*_sizes(quick))
    return theirs if name == THEIRS else aga_from_reference(theirs.state_dict())


def make_features(quick: bool, batch: int) -> Float[Tensor, "batch steps feature"]:
    """Return random features."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, NUM_STEPS, _sizes(quick)[1], generator=generator)


def _sizes(quick: bool) -> tuple[int, int, int]:
    """Return number of actions (those of EPIC-Kitchens-100), feature width and hidden width."""
    return (7, 12, 32) if quick else (3806, 1024, 2048)


def _memory(make: Make, name: str, batch: int) -> dict[str, float]:
    peak = peak_memory(make, (True, name, 2), (False, name, batch))
    return {} if peak is None else {"peak MiB": peak / MIB}
