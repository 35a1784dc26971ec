"""The measures of both tasks: their names, titles, and how a measure follows from counts."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from anticipate.protocol.moc import mean_over_classes, quotient


class DenseCounts(NamedTuple):
    """Sums over the scored videos of one observation ratio, by horizon."""

    correct: Int64[np.ndarray, "horizons classes"]
    """Frames of each true class that samples predict right, over all samples."""
    top1_correct: Int64[np.ndarray, "horizons classes"]
    """The same of the best sample of each video and horizon."""
    frames: Int64[np.ndarray, "horizons classes"]
    """Frames of each true class."""
    diversity: Float64[np.ndarray, " horizons"]
    """Share of differing frames between pairs of samples."""
    num_windows: Int64[np.ndarray, " horizons"]
    """Videos with a frame in the horizon."""
    num_samples: int
    """Futures of each video."""


class DenseMeasure(NamedTuple):
    """One measure of dense anticipation."""

    title: str
    """What tables and axes call it, with its unit."""
    decimals: int
    of: Callable[[DenseCounts], Float64[np.ndarray, " horizons"]]


DENSE_MEASURES: Mapping[str, DenseMeasure] = {
    "mean_moc": DenseMeasure(
        "Mean MoC (%)", 1, lambda n: 100 * mean_over_classes(n.correct, n.frames * n.num_samples)
    ),
    "top1_moc": DenseMeasure(
        "Top-1 MoC (%)", 1, lambda n: 100 * mean_over_classes(n.top1_correct, n.frames)
    ),
    "mof": DenseMeasure(
        "MoF (%)", 1, lambda n: 100 * quotient(n.correct.sum(1), n.frames.sum(1) * n.num_samples)
    ),
    "frame_diversity": DenseMeasure(
        "Frame diversity", 3, lambda n: quotient(n.diversity, n.num_windows)
    ),
}
"""Measures by their name in documents and logs, in the order of tables."""

DENSE_TOP1, DENSE_MEAN = "0.3/top1_moc/0.5", "0.3/mean_moc/0.5"
"""The papers' setting of the ablations: observation .3, horizon .5 (inferred from Tab. 1 and 4,
which agree there)."""

MAIN_MEASURES = {
    "dense": (DENSE_TOP1, DENSE_MEAN),
    "short_term": ("overall/action", "overall/action/top5", "overall/action/recall"),
}
"""Main scores of a run, by task; those that its protocol has."""

EVERYWHERE = {"dense": ("mean_moc", "top1_moc"), "short_term": ("verb", "noun", "action")}
"""What the papers' tables have in all their columns, by task."""


COSTS = ("efficiency/", "routing/")
"""How the names of what a run costs, and of how it uses its experts, begin."""


def is_measure(path: str, task: str) -> bool:
    """Return whether a run of a task can have a score or cost of this path.

    >>> is_measure("0.3/mean_moc/0.5", "dense"), is_measure("0.3/accuracy/0.5", "dense")
    (True, False)
    """
    parts = path.split("/")
    if path.startswith(COSTS):
        return len(parts) == 2
    if task == "dense":
        return len(parts) == 3 and parts[1] in DENSE_MEASURES
    return len(parts) in (2, 3) and parts[1] in ("verb", "noun", "action")


def named_scores(scores: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the scores of a document by the path to each, its parts joined by `/`.

    Counts are not scores: integers are left out.

    >>> named_scores({"overall": {"verb": 30.0, "noun": 31.5}, "num_scored": 9668})
    {'overall/verb': 30.0, 'overall/noun': 31.5}
    """
    named: dict[str, float] = {}
    for key, value in scores.items():
        if isinstance(value, Mapping):
            named |= named_scores(value, f"{prefix}{key}/")
        elif isinstance(value, float):
            named[f"{prefix}{key}"] = value
    return named
