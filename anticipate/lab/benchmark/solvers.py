"""`anticipate benchmark solvers`: scores of a trained model by solver and number of steps."""

from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
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

STUDIED = ["mean_moc", "top1_moc"]

CRITERION = (
    "within noise: Mean and Top-1 MoC, each averaged over all settings, differ from DDIM-50 with "
    "the same noise by at most the standard deviation of DDIM-50 between noise seeds"
)


class Solver(NamedTuple):
    """One way to sample."""

    sampler: Sampler
    steps: int
    spacing: Spacing = "leading"


PROTOCOL = Solver("ddim", 50)
"""The one of the papers, that all others are compared with."""

SOLVER = list(Solver._fields)
SETTING = ["obs_ratio", "pred_ratio"]


def measure(
    model: DiffusionAnticipator,
    batches: Iterable[DenseBatch],
    solvers: Iterable[Solver],
    num_seeds: int,
) -> pd.DataFrame:
    """Sample and score all videos with every solver and every noise seed.

    Args:
        model: A trained model, in evaluation; its sampling settings are put back afterwards.
        batches: The videos to score.
        solvers: What to compare.
        num_seeds: Seeds of the noise: the model's own and those that follow it.

    Returns:
        A row for each solver, seed and setting, with the measures in percent.
    """
    own = Solver(model.sampler, model.num_inference_steps, model.timestep_spacing), model.seed
    metrics = {
        (solver, seed): {
            ratio: DenseScores(model.num_classes, ratio, model.pred_ratios)
            for ratio in model.obs_ratios
        }
        for solver in solvers
        for seed in range(model.seed, model.seed + num_seeds)
    }
    try:
        for number, batch in enumerate(batches, start=1):
            for (solver, seed), scores in metrics.items():
                _use(model, solver, seed)
                _count(model, batch, scores)
            notice(f"batch {number}: {', '.join(batch.video_ids)}")
    finally:
        _use(model, *own)
    rows = [
        (*solver, seed, ratio_name(obs_ratio), pred_ratio, *(found[m][pred_ratio] for m in STUDIED))
        for (solver, seed), scores in metrics.items()
        for obs_ratio, metric in scores.items()
        for found in (metric.compute(),)
        for pred_ratio in found[STUDIED[0]]
    ]
    return pd.DataFrame(rows, columns=[*SOLVER, "seed", *SETTING, *STUDIED])


def sampling_noise(scores: pd.DataFrame) -> "pd.Series[float]":
    """Return the standard deviation of the protocol between seeds, of the mean over settings."""
    return _of_protocol(scores).groupby("seed")[STUDIED].mean().std()


def compare(scores: pd.DataFrame) -> pd.DataFrame:
    """Compare every solver with the protocol, which must be among them.

    Args:
        scores: What `measure` returns.

    Returns:
        A row for each solver: means over seeds and settings, their differences to those of the
        protocol in points (`mean_moc_difference`, ..), and whether these are `within_noise`.
    """
    means = scores.groupby(SOLVER, sort=False)[STUDIED].mean()
    differences = means - means.loc[PROTOCOL]
    within = (differences.abs() <= sampling_noise(scores)).all(axis=1)
    found = means.join(differences.add_suffix("_difference")).assign(within_noise=within)
    return found.assign(method=[_method(*solver) for solver in found.index]).reset_index()


def fewest_steps(comparisons: pd.DataFrame) -> dict[str, int | None]:
    """Return the fewest steps of each method that, like all more of them, stay within the noise.

    None where not even the most steps that were tried do.
    """
    fewest: dict[str, int | None] = {}
    for method, rows in comparisons.groupby("method", sort=False):
        ordered = rows.sort_values("steps", ascending=False)
        inside = ordered["steps"][ordered["within_noise"].cummin()]
        fewest[str(method)] = int(inside.min()) if len(inside) else None
    return fewest


def _of_protocol(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows[SOLVER].eq(list(PROTOCOL)).all(axis=1)]


def _method(sampler: str, steps: int, spacing: str) -> str:
    return sampler if spacing == "leading" else f"{sampler}, {spacing}"


def _use(model: DiffusionAnticipator, solver: Solver, seed: int) -> None:
    model.sampler, model.num_inference_steps, model.timestep_spacing = solver
    model.seed = seed


def _count(
    model: DiffusionAnticipator, batch: DenseBatch, metrics: dict[float, DenseScores]
) -> None:
    for video in model.forecast(batch).videos(batch):
        metrics[video.obs_ratio].update(video.preds, video.targets)


def run(options: Namespace) -> None:
    """Load a trained model, sample with every solver, and show or write what came out.

    Args:
        options: `ckpt`, `data`, `videos`, `steps`, `spacings`, `seeds`, `output` and `json`.

    Raises:
        AnticipateError: No such checkpoint, data or settings, or not a diffusion model.
    """
    facts, scores = _measure(options)
    if options.json:
        print_json(_document(facts, scores))
    else:
        _print_table(facts, scores)
    if options.output is not None:
        write(facts, scores, options.output)


def write(facts: dict[str, Any], scores: pd.DataFrame, folder: Path) -> None:
    """Write `solvers.csv` (every score) and `solvers.png` (the curves) to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    scores.to_csv(folder / "solvers.csv", index=False)
    found = compare(scores).sort_values("steps", kind="stable")
    figure = solver_figure(
        {
            str(method): Curve(rows["steps"].to_numpy(), rows[STUDIED].to_numpy())
            for method, rows in found.groupby("method", sort=False)
        },
        protocol=_of_protocol(found)[STUDIED].to_numpy()[0],
        noise=sampling_noise(scores).to_numpy(),
        title=_title(facts),
        note="synthetic features" if facts["synthetic"] else "",
    )
    figure.savefig(folder / "solvers.png")
    notice(f"wrote {folder / 'solvers.csv'} and {folder / 'solvers.png'}")


def _measure(options: Namespace) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return what was measured on what, and the scores."""
    limit = [f"--data.limit_test_videos={options.videos}"] if options.videos else []
    model, data = load(options.ckpt, options.data, limit)
    if not isinstance(model, DiffusionAnticipator) or not isinstance(data, DenseDataModule):
        raise ConfigError(
            f"{options.ckpt} holds a {type(model).__name__}; only diffusion models have solvers"
        )
    solvers = [
        Solver(sampler, n, spacing)
        for sampler in SOLVERS
        for spacing in options.spacings
        for n in sorted(set(options.steps))
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
    return facts, scores


def _document(facts: dict[str, Any], scores: pd.DataFrame) -> dict[str, Any]:
    found = compare(scores)
    named = scores.assign(setting=scores["obs_ratio"] + " / " + scores["pred_ratio"])
    rows = [
        {
            **row[[*SOLVER, *STUDIED]].to_dict(),
            "difference": {name: row[f"{name}_difference"] for name in STUDIED},
            "within_noise": row["within_noise"],
            "settings": own.groupby("setting", sort=False)[STUDIED].mean().to_dict(),
        }
        for (_, row), (_, own) in zip(
            found.iterrows(), named.groupby(SOLVER, sort=False), strict=True
        )
    ]
    verdict = {
        "criterion": CRITERION,
        "noise": sampling_noise(scores).to_dict(),
        "fewest_steps": fewest_steps(found),
    }
    return {**facts, **verdict, "solvers": rows}


def _print_table(facts: dict[str, Any], scores: pd.DataFrame) -> None:
    found = compare(scores)
    table = Table(title=_title(facts), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title_justify = "left"
    heads = ("solver", "steps", "Mean MoC", "to DDIM-50", "Top-1 MoC", "to DDIM-50", "within noise")
    for head in heads:
        table.add_column(head, justify="left" if head in ("solver", "within noise") else "right")
    for _, row in found.iterrows():
        pairs = ((row[name], row[f"{name}_difference"]) for name in STUDIED)
        cells = [text for value, gap in pairs for text in (f"{value:.1f}", f"{gap:+.2f}")]
        verdict = "yes" if row["within_noise"] else "no"
        table.add_row(row["method"], str(row["steps"]), *cells, verdict)
    console = Console()
    console.print(table)
    for line in _verdict(sampling_noise(scores), fewest_steps(found)):
        console.print(line, highlight=False)


def _verdict(noise: "pd.Series[float]", fewest: dict[str, int | None]) -> Iterator[str]:
    mean, top1 = noise
    yield f"{CRITERION} ({mean:.2f} and {top1:.2f} points here)"
    for method, steps in fewest.items():
        found = f"{steps} steps" if steps is not None else "none of the tried numbers of steps"
        yield f"{method}: fewest steps from which on it stays within noise: {found}"


def _title(facts: dict[str, Any]) -> str:
    return (
        f"{facts['dataset']}, split {facts['split']}, {facts['num_videos']} test videos, "
        f"{facts['num_samples']} samples, {len(facts['seeds'])} noise seeds"
    )
