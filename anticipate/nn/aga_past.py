"""Past predictions that are given to AGA instead of those it made: labels or noise."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anticipate.choices import checked_choices
from anticipate.errors import ConfigError

__all__ = ["Past", "labelled_past", "perturbed_past"]

Placement = Literal["random", "block"]


class Past(NamedTuple):
    """What the network remembers of some steps instead of what it predicted there."""

    predictions: Float[Tensor, "batch steps actions"]
    given: Bool[Tensor, "batch steps"]
    """True where the network's own prediction is replaced."""
    certain: bool
    """Whether they are one-hot vectors rather than logits."""

    def replace(
        self, logits: Float[Tensor, "batch actions"], step: int
    ) -> Float[Tensor, "batch actions"]:
        """Return what is remembered of a step where the network predicted these logits."""
        instead = self.predictions[:, step].to(logits)
        return torch.where(self.given[:, step, None].to(logits.device), instead, logits)


def labelled_past(labels: Int[Tensor, "batch steps"], num_classes: int) -> Past:
    """Return the past of a forecaster that was always right (teacher forcing).

    Args:
        labels: What each step had to predict; below 0 where nothing is labelled: a zero vector.
        num_classes: Number of actions.
    """
    known = labels >= 0
    one_hot = F.one_hot(labels.clamp(min=0), num_classes) * known.unsqueeze(-1)
    dtype = torch.get_default_dtype()
    return Past(one_hot.to(dtype), torch.ones_like(known), certain=True)


@checked_choices
def perturbed_past(
    seeds: Sequence[int],
    num_steps: int,
    num_classes: int,
    num_perturbed: int,
    placement: Placement = "random",
) -> Past:
    """Return standard normal logits for some of the steps before the last.

    Args:
        seeds: One per row; a row depends on its seed alone.
        num_steps: Steps of the clip.
        num_classes: Number of actions.
        num_perturbed: How many steps are replaced.
        placement: `random` steps, or a `block` of neighbouring ones that begins anywhere.

    Raises:
        ConfigError: More steps than lie before the last, or another placement.
    """
    if not 0 <= num_perturbed < num_steps:
        raise ConfigError(
            f"cannot perturb {num_perturbed} steps of a clip of {num_steps}: "
            f"choose between 0 and {num_steps - 1}, the last step is never perturbed"
        )
    predictions = torch.zeros(len(seeds), num_steps, num_classes)
    given = torch.zeros(len(seeds), num_steps, dtype=torch.bool)
    for row, seed in enumerate(seeds):
        generator = torch.Generator().manual_seed(seed)
        steps = _places(num_steps - 1, num_perturbed, placement, generator)
        given[row, steps] = True
        predictions[row, steps] = torch.randn(num_perturbed, num_classes, generator=generator)
    return Past(predictions, given, certain=False)


def _places(
    num_steps: int, num_perturbed: int, placement: Placement, generator: torch.Generator
) -> Int[Tensor, " perturbed"]:
    if placement == "random":
        return torch.randperm(num_steps, generator=generator)[:num_perturbed]
    start = torch.randint(num_steps - num_perturbed + 1, (), generator=generator)
    return torch.arange(num_perturbed) + start
