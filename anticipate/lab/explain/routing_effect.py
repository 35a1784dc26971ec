"""Whether routing matters: what the experts tell of the activity, and what forcing one costs."""

from collections.abc import Iterator, Sequence
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
"""How often the activities are shuffled to learn what chance gives."""


class Information(NamedTuple):
    """Mutual information of the chosen expert and the activity, in nats, mean over routers."""

    mutual_information: float
    shuffled_information: float
    """The same where activities are shuffled, mean."""


class ForcingCost(NamedTuple):
    """What routing contributes to the estimate of the labels."""

    future_error: float
    """Squared error of the estimated x_0 per future token, mean over `TIMES`."""
    forced_cost: list[float]
    """How much larger it is where all routers choose this expert, in percent."""


def information(
    chosen: Int[np.ndarray, "videos blocks routers"], activities: Sequence[str]
) -> Information:
    """Measure what the chosen experts tell of the activity of a video.

    Args:
        chosen: Expert that each router chose for each video.
        activities: Activity of each video.
    """
    routers = chosen.reshape(len(chosen), -1).T

    def mean(labels: Sequence[str] | np.ndarray) -> float:
        return float(np.mean([mutual_info_score(labels, choice) for choice in routers]))

    rng = np.random.default_rng(0)
    shuffled = [mean(rng.permutation(activities)) for _ in range(NUM_SHUFFLES)]
    return Information(mean(activities), float(np.mean(shuffled)))


@torch.no_grad()
def forcing_cost(model: DiffusionAnticipator, batches: Sequence[DenseBatch]) -> ForcingCost:
    """Measure the error of the estimated labels with the routers and with each expert alone.

    Args:
        model: A model with a mixture; its routers are as before afterwards.
        batches: Test videos.
    """
    routers = [module for module in model.modules() if isinstance(module, Router)]
    error = _error(model, batches)
    forced = []
    for expert in range(routers[0].proj.out_features):
        with _forced(routers, expert):
            forced.append(100 * (_error(model, batches) / error - 1))
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


def _error(model: DiffusionAnticipator, batches: Sequence[DenseBatch]) -> float:
    """Return the squared error per future token; noise follows from seed, videos and step."""
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
