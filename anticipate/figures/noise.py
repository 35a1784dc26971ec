"""How far the means of two settings may differ by chance.

The runs of a study form a table: settings down, pairs of split and seed across. What is left of a
score after the mean of its row and of its column have been taken away is noise; with two settings
this is the paired t-test.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import t as student

CONFIDENCE = 0.95
MOST_SEEDS = 100
"""Where more would be needed to tell two settings apart, their difference does not matter."""

Series = Mapping[tuple[str, int], float]
"""A score of one setting by split and seed."""


class Difference(NamedTuple):
    """How much higher one mean is than another."""

    mean: float
    margin: float | None
    """Half the width of its confidence interval; None where there is one run per setting."""
    seeds: float
    """With about how many, on the same splits, this difference would be clear of this noise;
    infinite beyond `MOST_SEEDS`, and where the noise is unknown."""


class Noise(NamedTuple):
    """What chance does to a single score."""

    deviation: float
    num_settings: int
    """How many it was estimated from."""

    def margin(self, num_runs: Int[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
        """Return half the width of the interval of a difference of means of so many runs each."""
        degrees = (self.num_settings - 1) * (num_runs - 1)
        quantile = student.ppf((1 + CONFIDENCE) / 2, degrees)
        return np.asarray(quantile * self.deviation * np.sqrt(2 / num_runs))


def common_keys(points: Mapping[str, Series]) -> list[tuple[str, int]]:
    """Return the pairs of split and seed that every setting has, sorted."""
    keys = [set(series) for series in points.values()]
    return sorted(set.intersection(*keys)) if keys else []


def noise(points: Mapping[str, Series]) -> Noise | None:
    """Estimate the noise of a study from what settings and splits do not explain.

    Args:
        points: Scores by setting.

    Returns:
        None with one run or one setting: then noise cannot be separated from effect.
    """
    keys = common_keys(points)
    if len(keys) < 2 or len(points) < 2:
        return None
    table = np.array([[series[key] for key in keys] for series in points.values()])
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    degrees = (table.shape[0] - 1) * (table.shape[1] - 1)
    return Noise(float(np.sqrt((rest**2).sum() / degrees)), len(points))


def difference(points: Mapping[str, Series], better: str, worse: str) -> Difference:
    """Compare two settings of a study over the pairs of split and seed that all settings have.

    Args:
        points: Scores by setting; some pair must be common to all.
        better: Setting whose mean comes first.
        worse: Setting whose mean is taken away.
    """
    keys = common_keys(points)
    mean = float(np.mean([points[better][key] - points[worse][key] for key in keys]))
    estimate = noise(points)
    if estimate is None:
        return Difference(mean, None, np.inf)
    num_splits = len({split for split, _ in keys})
    seeds = np.arange(1, MOST_SEEDS + 1)
    enough = seeds[estimate.margin(num_splits * seeds) < abs(mean)]
    margin = float(estimate.margin(np.array(len(keys))))
    return Difference(mean, margin, float(min(enough, default=np.inf)))


class Summary(NamedTuple):
    """Mean and spread of a score."""

    mean: float
    spread: float | None
    """Standard deviation; over splits, or over seeds where there is one split."""
    num_splits: int
    num_runs: int


def summarize(series: Series) -> Summary:
    """Average over the seeds of each split, then over splits.

    Args:
        series: At least one score.
    """
    splits = sorted({split for split, _ in series})
    by_split = [[v for (split, _), v in series.items() if split == one] for one in splits]
    means = [float(np.mean(values)) for values in by_split]
    spreading = means if len(means) > 1 else by_split[0]
    spread = float(np.std(spreading, ddof=1)) if len(spreading) > 1 else None
    return Summary(float(np.mean(means)), spread, len(splits), len(series))
