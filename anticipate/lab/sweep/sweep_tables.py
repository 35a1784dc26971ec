"""The main scores of finished runs, their mean and spread, and the tables of a sweep."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from rich.table import Table

from anticipate.errors import DataError
from anticipate.files import METRICS
from anticipate.lab.sweep.plan import Planned

Scores = Mapping[str, float]
"""Percent by name of the measure."""


class Summary(NamedTuple):
    """One measure of several runs of an experiment."""

    mean: float
    spread: float | None
    """Standard deviation over the runs; None for a single one."""
    num_runs: int


def read_scores(folder: Path) -> Scores:
    """Return the main scores of a finished run: of the model, not of the baselines.

    Raises:
        DataError: `metrics.json` is missing or not what a test writes.
    """
    path = folder / METRICS
    try:
        return main_scores(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise DataError(
            f"{path} does not hold the scores of a test ({error}): write it again with "
            "anticipate test --ckpt_path last"
        ) from error


def main_scores(document: Mapping[str, Any]) -> Scores:
    """Return the main scores of the content of a `metrics.json`."""
    scores = next(iter(document["scores"].values()))
    if document.get("kind", "dense") == "dense":
        return {
            "mean MoC": _mean(scores, "mean_moc"),
            "top-1 MoC": _mean(scores, "top1_moc"),
        }
    action = scores["overall"]["action"]
    measures = action if isinstance(action, Mapping) else {"recall@5": action}
    return {f"action {name}": float(value) for name, value in measures.items() if value is not None}


def summarise(
    planned: Sequence[Planned], scores: Sequence[Scores | None]
) -> dict[str, dict[str, Summary]]:
    """Return mean and spread of each measure by experiment, over its runs that have it.

    Args:
        planned: The runs.
        scores: Those of each run; None for one that is not finished.
    """
    values: dict[str, dict[str, list[float]]] = {}
    for (run, _, _), found in zip(planned, scores, strict=True):
        for name, value in (found or {}).items():
            values.setdefault(run.name, {}).setdefault(name, []).append(value)
    return {
        experiment: {
            name: Summary(fmean(found), stdev(found) if len(found) > 1 else None, len(found))
            for name, found in measures.items()
        }
        for experiment, measures in values.items()
    }


def _mean(scores: Mapping[str, Any], measure: str) -> float:
    """Return the mean over observation and prediction ratios; null where no video was scored."""
    found: Iterable[Any] = (value for row in scores.values() for value in row[measure].values())
    return fmean(value for value in found if value is not None)


def plan_table(planned: Sequence[Planned]) -> Table:
    """Return the table of a dry run: what would be done with each run."""
    table = Table("run", "to do")
    for run, step, same_as in planned:
        what = f"same as {same_as.relative_to(run.run_dir)}" if same_as else step
        table.add_row(str(run.folder.relative_to(run.run_dir)), what)
    return table


def summary_table(summaries: Mapping[str, Mapping[str, Summary]]) -> Table:
    """Return the table of mean and spread over splits and seeds, a row per experiment.

    Args:
        summaries: What `summarise` returns.
    """
    measures = list(dict.fromkeys(measure for row in summaries.values() for measure in row))
    table = Table("experiment", "runs", *measures)
    table.caption = "percent, mean ± standard deviation over splits and seeds"
    for name, row in summaries.items():
        num_runs = max(summary.num_runs for summary in row.values())
        table.add_row(name, str(num_runs), *(_cell(row.get(measure)) for measure in measures))
    return table


def document(
    planned: Sequence[Planned], scores: Sequence[Scores | None]
) -> dict[str, list[dict[str, Any]]]:
    """Return all runs and the mean and spread of each experiment as a JSON document.

    Args:
        planned: The runs.
        scores: Those of each run; None for one that is not finished.
    """
    runs = [
        {
            "run_name": run.name,
            "split": run.split,
            "seed": run.seed,
            "folder": str(run.folder),
            "same_as": str(same_as) if same_as else None,
            "scores": found,
        }
        for (run, _, same_as), found in zip(planned, scores, strict=True)
    ]
    experiments = [
        {"run_name": name, "scores": {key: one._asdict() for key, one in row.items()}}
        for name, row in summarise(planned, scores).items()
    ]
    return {"runs": runs, "experiments": experiments}


def _cell(summary: Summary | None) -> str:
    if summary is None:
        return ""
    spread = "" if summary.spread is None else f" ± {summary.spread:.2f}"
    return f"{summary.mean:.2f}{spread}"
