"""Whether routing matters: what the experts tell of a label, and what forcing one costs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from sklearn.metrics import mutual_info_score
from torch import Tensor

from anticipate.diffusion.objective import add_noise, one_hot
from anticipate.models.diffusion_anticipator import DiffusionAnticipator
from anticipate.models.seeds import seed_of
from anticipate.nn.mixant import Router
from anticipate.types import DenseBatch

TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Diffusion steps at which errors are measured, as shares of T."""
NUM_SHUFFLES = 20
"""How often the labels are shuffled to learn what chance gives."""


class Information(NamedTuple):
    """Mutual information of the chosen expert and the label, in nats, mean over routers."""

    mutual_information: float
    shuffled_information: float
    """The same where labels are shuffled, mean."""


class ForcingCost(NamedTuple):
    """What routing contributes to the forecasts."""

    future_error: float
    """Error of the forecasts: that of `estimate_error`, or cross-entropy of the next action."""
    forced_cost: list[float]
    """How much larger it is where all routers choose this expert, in percent."""


def information(
    chosen: Int[np.ndarray, "items blocks routers"], labels: Sequence[str]
) -> Information:
    """Measure what the chosen experts tell of the label of an item.

    Args:
        chosen: Expert that each router chose for each item.
        labels: Label of each item.
    """
    routers = chosen.reshape(len(chosen), -1).T

    def mean(told: Sequence[str] | np.ndarray) -> float:
        return float(np.mean([mutual_info_score(told, choice) for choice in routers]))

    rng = np.random.default_rng(0)
    shuffled = [mean(rng.permutation(labels)) for _ in range(NUM_SHUFFLES)]
    return Information(mean(labels), float(np.mean(shuffled)))


@torch.no_grad()
def forcing_cost(model: torch.nn.Module, measure: Callable[[], float]) -> ForcingCost:
    """Measure the error of the forecasts with the routers and with each expert alone.

    Args:
        model: A model with a mixture; its routers are as before afterwards.
        measure: Returns the error of what the model forecasts.
    """
    routers = [module for module in model.modules() if isinstance(module, Router)]
    error = measure()
    forced = []
    for expert in range(routers[0].proj.out_features):
        with _forced(routers, expert):
            forced.append(100 * (measure() / error - 1))
    return ForcingCost(error, forced)


@contextmanager
def _forced(routers: Sequence[Router], expert: int) -> Iterator[None]:
    def choose(module: torch.nn.Module, inputs: Any, gamma: Tensor) -> Tensor:
        only = torch.zeros_like(gamma)
        only[:, expert] = 1
        return only

    hooks = [router.register_forward_hook(choose) for router in routers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def estimate_error(model: DiffusionAnticipator, batches: Sequence[DenseBatch]) -> float:
    """Return the squared error of the estimated x_0 per future token, mean over `TIMES`.

    Noise follows from seed, videos and step.

    Args:
        model: The model.
        batches: Test videos.
    """
    total = torch.zeros((), device=model.device)
    count = 0
    for batch in batches:
        x_0 = one_hot(batch.targets, batch.valid, model.num_classes)
        future = batch.valid & ~batch.observed
        condition = model.denoiser.encode(batch.features, batch.observed)
        for share in TIMES:
            t = torch.full((len(x_0),), int(share * model.num_train_timesteps), device=x_0.device)
            seed = seed_of(model.seed, "explain", int(t[0]), *batch.video_ids)
            noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(seed))
            x_t = add_noise(x_0, noise.to(x_0), t, model.alphas_cumprod)
            estimate = model.denoiser(x_t, t, condition, batch.observed, batch.valid).x_0
            total += ((estimate - x_0).square().sum(-1) * future).sum()
            count += int(future.sum())
    return float(total / count)
