"""`anticipate benchmark solvers`: scores of a trained model by solver and number of steps."""

import csv
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from lightning.fabric.utilities import move_data_to_device
from rich import box
from rich.console import Console
from rich.table import Table

from anticipate.console import notice, print_json
from anticipate.datasets.batches.dense_module import DenseDataModule
from anticipate.diffusion.schedule import SOLVERS, Sampler, Spacing, make_scheduler
from anticipate.errors import ConfigError
from anticipate.figures.solver_figure import Curve, solver_figure
from anticipate.horizons import ratio_name
from anticipate.models import DiffusionAnticipator
from anticipate.protocol.dense_scores import DenseScores
from anticipate.training.loading import load
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
    """One solver, compared with that of the protocol."""

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


class Study(NamedTuple):
    """What was measured on what."""

    facts: dict[str, Any]
    """Checkpoint, data set, split, whether features are synthetic, numbers of what was scored."""
    settings: tuple[str, ...]
    scores: dict[Solver, Scores]
    comparisons: tuple[Comparison, ...]
    """One for each of the scores, in their order."""


def run(options: Namespace) -> None:
    """Load a trained model, sample with every solver, and show or write what came out.

    Args:
        options: `ckpt`, `data`, `videos`, `steps`, `spacings`, `seeds`, `output` and `json`.

    Raises:
        AnticipateError: No such checkpoint, data or settings, or not a diffusion model.
    """
    study = _measure(options)
    if options.json:
        print_json(_document(study))
    else:
        _print_table(study)
    if options.output is not None:
        write(study, options.output)


def write(study: Study, folder: Path) -> None:
    """Write `solvers.csv` (every score) and `solvers.png` (the curves) to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "solvers.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow((*Solver._fields, "seed", "obs_ratio", "pred_ratio", *STUDIED))
        lines.writerows(_csv_rows(study))
    figure = solver_figure(
        {method: _curve(study, method) for method in _methods(study)},
        protocol=study.scores[PROTOCOL].mean(axis=(0, 2)),
        noise=sampling_noise(study.scores[PROTOCOL]),
        title=_title(study),
        note="synthetic features" if study.facts["synthetic"] else "",
    )
    figure.savefig(folder / "solvers.png")
    notice(f"wrote {folder / 'solvers.csv'} and {folder / 'solvers.png'}")


def _measure(options: Namespace) -> Study:
    limit = [f"--data.limit_test_videos={options.videos}"] if options.videos else []
    model, data = load(options.ckpt, options.data, limit)
    if not isinstance(model, DiffusionAnticipator) or not isinstance(data, DenseDataModule):
        raise ConfigError(
            f"{options.ckpt} holds a {type(model).__name__}; only diffusion models have solvers"
        )
    steps = sorted(set(options.steps))
    solvers = [
        Solver(sampler, n, spacing)
        for sampler in SAMPLERS
        for spacing in options.spacings
        for n in steps
    ]
    for solver in solvers:  # refuses wrong ones
        make_scheduler(solver.sampler, model.num_train_timesteps, solver.steps, solver.spacing)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    data.setup("test")
    batches = (move_data_to_device(batch, model.device) for batch in data.test_dataloader())
    scores = measure(model, batches, dict.fromkeys([PROTOCOL, *solvers]), options.seeds)
    facts = {
        "checkpoint": str(options.ckpt),
        "dataset": data.dataset,
        "split": data.split,
        "synthetic": data.synthetic,
        "num_videos": len(data.test_videos),
        "num_samples": model.num_samples,
        "seeds": list(range(model.seed, model.seed + options.seeds)),
    }
    return Study(facts, setting_names(model), scores, compare(scores))


def _document(study: Study) -> dict[str, Any]:
    noise = sampling_noise(study.scores[PROTOCOL])
    rows = [
        {
            **row.solver._asdict(),
            **_by_measure(row.scores),
            "difference": _by_measure(row.difference),
            "within_noise": row.within_noise,
            "settings": {
                name: dict(zip(study.settings, found.mean(axis=0)[index].tolist(), strict=True))
                for index, name in enumerate(STUDIED)
            },
        }
        for row, found in zip(study.comparisons, study.scores.values(), strict=True)
    ]
    fewest = {method: fewest_steps(study.comparisons, method) for method in _methods(study)}
    verdict = {"criterion": CRITERION, "noise": _by_measure(noise), "fewest_steps": fewest}
    return {**study.facts, **verdict, "solvers": rows}


def _print_table(study: Study) -> None:
    table = Table(title=_title(study), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title_justify = "left"
    heads = ("solver", "steps", "Mean MoC", "to DDIM-50", "Top-1 MoC", "to DDIM-50", "within noise")
    for head in heads:
        table.add_column(head, justify="left" if head in ("solver", "within noise") else "right")
    for row in study.comparisons:
        pairs = zip(row.scores, row.difference, strict=True)
        cells = [text for value, gap in pairs for text in (f"{value:.1f}", f"{gap:+.2f}")]
        verdict = "yes" if row.within_noise else "no"
        table.add_row(row.solver.method, str(row.solver.steps), *cells, verdict)
    console = Console()
    console.print(table)
    for line in _verdict(study):
        console.print(line, highlight=False)


def _verdict(study: Study) -> Iterator[str]:
    mean, top1 = sampling_noise(study.scores[PROTOCOL])
    yield f"{CRITERION} ({mean:.2f} and {top1:.2f} points here)"
    for method in _methods(study):
        fewest = fewest_steps(study.comparisons, method)
        found = f"{fewest} steps" if fewest is not None else "none of the tried numbers of steps"
        yield f"{method}: fewest steps from which on it stays within noise: {found}"


def _methods(study: Study) -> list[str]:
    return list(dict.fromkeys(row.solver.method for row in study.comparisons))


def _title(study: Study) -> str:
    facts = study.facts
    return (
        f"{facts['dataset']}, split {facts['split']}, {facts['num_videos']} test videos, "
        f"{facts['num_samples']} samples, {len(facts['seeds'])} noise seeds"
    )


def _csv_rows(study: Study) -> Iterator[tuple[str | int | float, ...]]:
    for solver, scores in study.scores.items():
        for seed, found in zip(study.facts["seeds"], scores, strict=True):
            for setting, values in zip(study.settings, found.T.tolist(), strict=True):
                yield (*solver, seed, *setting.split(" / "), *values)


def _curve(study: Study, method: str) -> Curve:
    rows = [row for row in study.comparisons if row.solver.method == method]
    rows.sort(key=lambda row: row.solver.steps)
    return Curve(
        steps=np.array([row.solver.steps for row in rows]),
        scores=np.stack([row.scores for row in rows]),
    )


def _by_measure(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    return dict(zip(STUDIED, map(float, values), strict=True))
