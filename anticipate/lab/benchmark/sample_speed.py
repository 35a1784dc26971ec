"""All futures of one video: time by solver and number of denoising steps, not quality."""

from collections.abc import Callable
from typing import Any

import torch

from anticipate.diffusion.schedule import Sampler
from anticipate.lab.benchmark.random_mixant import (
    FEATURE_DIM,
    NUM_CLASSES,
    OBSERVED_SHARE,
    make_network,
)
from anticipate.lab.benchmark.speed_table import Report
from anticipate.lab.benchmark.timing import compare, without_result
from anticipate.models import DiffusionAnticipator
from anticipate.types import DenseBatch

SETTINGS: tuple[tuple[Sampler, int], ...] = (
    ("ddim", 50),
    ("ddim", 25),
    ("ddim", 10),
    ("ddim", 5),
    ("dpmsolver++", 10),
    ("unipc", 10),
)
"""Solvers and steps; the first is the protocol of the papers."""


def run(quick: bool, repeats: int) -> Report:
    """Measure predictions of 25 samples of a video of 490 tokens."""
    samples, tokens = (2, 21) if quick else (25, 490)
    settings = (("ddim", 2), ("unipc", 2)) if quick else SETTINGS
    batch = make_batch(5 if quick else NUM_CLASSES, 8 if quick else FEATURE_DIM, tokens)
    candidates = {
        f"{sampler}, {steps} steps": without_result(
            prediction(quick, batch, sampler, steps, samples)
        )
        for sampler, steps in settings
    }
    title = f"prediction, {samples} samples of one video of {tokens} tokens"
    return Report((compare(title, candidates, repeats),))


def prediction(
    quick: bool, batch: DenseBatch, sampler: Sampler, steps: int, samples: int
) -> Callable[[], Any]:
    """Return a model's forecast of a batch as a function."""
    model = DiffusionAnticipator(
        num_classes=5 if quick else NUM_CLASSES,
        feature_dim=batch.features.shape[2],
        sample_rate=3,
        denoiser=lambda num_classes, feature_dim: make_network(quick),
        sampler=sampler,
        num_inference_steps=steps,
        num_samples=samples,
    ).eval()
    return lambda: model.forecast(batch)


def make_batch(num_classes: int, feature_dim: int, tokens: int) -> DenseBatch:
    """Return one video of random features."""
    num_observed = round(OBSERVED_SHARE * tokens)
    generator = torch.Generator().manual_seed(0)
    return DenseBatch(
        features=torch.randn(1, num_observed, feature_dim, generator=generator),
        targets=torch.randint(num_classes, (1, tokens), generator=generator),
        observed=torch.arange(tokens)[None] < num_observed,
        valid=torch.ones(1, tokens, dtype=torch.bool),
        frame_targets=torch.zeros(1, 0, dtype=torch.int64),
        num_frames=torch.tensor([3 * tokens * 10 // 7]),
        obs_ratios=(0.2,),
        video_ids=("video",),
    )
