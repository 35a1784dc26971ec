"""How few denoising steps do: a trained model's scores by solver and steps beside DDIM-50.

Every solver starts from the same noise on the same videos, so its difference to DDIM-50 is known
far better than either score. What it is judged by is what the choice of the noise does to DDIM-50.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from anticipate.console import notice
from anticipate.diffusion.schedule import SOLVERS, Sampler, Spacing
from anticipate.horizons import ratio_name
from anticipate.models import DiffusionAnticipator
from anticipate.protocol.dense_scores import DenseScores
from anticipate.types import DenseBatch

STUDIED = ("mean_moc", "top1_moc")
SAMPLERS = tuple(SOLVERS)
SPACINGS: tuple[Spacing, ...] = ("leading", "trailing")

CRITERION = (
    "within noise: Mean and Top-1 MoC, each averaged over all settings, differ from DDIM-50 with "
    "the same noise by at most the standard deviation of DDIM-50 between noise seeds"
)


class Solver(NamedTuple):
    """One way to sample."""

    sampler: Sampler
    steps: int
    spacing: Spacing = "leading"

    @property
    def method(self) -> str:
        """Name of the way without the number of steps."""
        return self.sampler if self.spacing == "leading" else f"{self.sampler}, {self.spacing}"


PROTOCOL = Solver("ddim", 50)
"""The one of the papers, that all others are compared with."""

Scores = Float64[np.ndarray, "seeds measures settings"]
"""Percent; settings are pairs of observation and prediction ratio, in the model's order."""


class Comparison(NamedTuple):
    """One solver beside the protocol."""

    solver: Solver
    scores: Float64[np.ndarray, " measures"]
    """Percent, mean over seeds and settings."""
    difference: Float64[np.ndarray, " measures"]
    """To the protocol's, in points."""
    within_noise: bool


def measure(
    model: DiffusionAnticipator,
    batches: Iterable[DenseBatch],
    solvers: Iterable[Solver],
    num_seeds: int,
) -> dict[Solver, Scores]:
    """Sample and score all videos with every solver and every noise seed.

    Args:
        model: A trained model, in evaluation; its sampling settings are put back afterwards.
        batches: The videos to score.
        solvers: What to compare.
        num_seeds: Seeds of the noise: the model's own and those that follow it.
    """
    own = Solver(model.sampler, model.num_inference_steps, model.timestep_spacing), model.seed
    seeds = range(model.seed, model.seed + num_seeds)
    metrics = {
        (solver, seed): {r: _metric(model, r) for r in model.obs_ratios}
        for solver in solvers
        for seed in seeds
    }
    try:
        for number, batch in enumerate(batches, start=1):
            for (solver, seed), scores in metrics.items():
                _use(model, solver, seed)
                _count(model, batch, scores)
            notice(f"batch {number}: {', '.join(batch.video_ids)}")
    finally:
        _use(model, *own)
    found: dict[Solver, list[list[list[float]]]] = {}
    for (solver, _), scores in metrics.items():
        found.setdefault(solver, []).append(_percentages(scores.values()))
    return {solver: np.array(per_seed) for solver, per_seed in found.items()}


def sampling_noise(protocol: Scores) -> Float64[np.ndarray, " measures"]:
    """Return the standard deviation between seeds of the mean over settings, in points."""
    return protocol.mean(axis=2).std(axis=0, ddof=1)


def compare(scores: Mapping[Solver, Scores]) -> tuple[Comparison, ...]:
    """Compare every solver with the protocol, which must be among them."""
    protocol = scores[PROTOCOL]
    noise = sampling_noise(protocol)
    rows = []
    for solver, found in scores.items():
        difference = (found - protocol).mean(axis=(0, 2))
        within = bool((np.abs(difference) <= noise).all())
        rows.append(Comparison(solver, found.mean(axis=(0, 2)), difference, within))
    return tuple(rows)


def fewest_steps(comparisons: Iterable[Comparison], method: str) -> int | None:
    """Return the fewest steps of a method that, like all more of them, stay within the noise.

    Args:
        comparisons: What was found.
        method: Name, as `Solver.method`.

    Returns:
        None when not even the most steps that were tried do.
    """
    fewest = None
    own = (row for row in comparisons if row.solver.method == method)
    for row in sorted(own, key=lambda row: row.solver.steps, reverse=True):
        if not row.within_noise:
            break
        fewest = row.solver.steps
    return fewest


def setting_names(model: DiffusionAnticipator) -> tuple[str, ...]:
    """Return the name of each setting, such as `0.2 / 0.1`."""
    pairs = [(obs, pred) for obs in model.obs_ratios for pred in model.pred_ratios]
    return tuple(f"{ratio_name(obs)} / {ratio_name(pred)}" for obs, pred in pairs)


def _metric(model: DiffusionAnticipator, obs_ratio: float) -> DenseScores:
    return DenseScores(model.num_classes, obs_ratio, model.pred_ratios)


def _use(model: DiffusionAnticipator, solver: Solver, seed: int) -> None:
    model.sampler, model.num_inference_steps, model.timestep_spacing = solver
    model.seed = seed


def _count(
    model: DiffusionAnticipator, batch: DenseBatch, metrics: Mapping[float, DenseScores]
) -> None:
    preds = model.forecast(batch).preds
    for row, ratio in enumerate(batch.obs_ratios):
        frames = slice(int(batch.num_frames[row]))
        metrics[ratio].update(preds[:, row, frames], batch.frame_targets[row, frames])


def _percentages(metrics: Iterable[DenseScores]) -> list[list[float]]:
    documents = [metric.compute() for metric in metrics]
    return [
        [value for document in documents for value in document[measure].values()]
        for measure in STUDIED
    ]
