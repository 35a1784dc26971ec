"""The main scores of finished runs, and their mean and spread over splits and seeds."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from anticipate.errors import DataError
from anticipate.files import METRICS

Scores = Mapping[str, float]
"""Percent by name of the measure."""


class Summary(NamedTuple):
    """One measure of several runs of an experiment."""

    mean: float
    spread: float | None
    """Standard deviation over the runs; None for a single one."""
    num_runs: int


def read_scores(folder: Path) -> Scores:
    """Return the main scores of a finished run: of the model, not of the baselines beside it.

    Raises:
        DataError: `metrics.json` is missing or not what a test writes.
    """
    path = folder / METRICS
    try:
        return main_scores(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise DataError(
            f"{path} does not hold the scores of a test ({error}): write it anew with "
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


def summarise(runs: Sequence[Scores]) -> dict[str, Summary]:
    """Return mean and spread of each measure, of those runs that have it."""
    values: dict[str, list[float]] = {}
    for scores in runs:
        for name, value in scores.items():
            values.setdefault(name, []).append(value)
    return {
        name: Summary(fmean(found), stdev(found) if len(found) > 1 else None, len(found))
        for name, found in values.items()
    }


def _mean(scores: Mapping[str, Any], measure: str) -> float:
    """Return the mean over observation and prediction ratios; null where no video was scored."""
    found: Iterable[Any] = (value for row in scores.values() for value in row[measure].values())
    return fmean(value for value in found if value is not None)
