"""How far the means of two settings may differ by chance: the paired t-test.

Runs are paired by split and seed, and only the two settings that are compared say how large the
noise is: the spread of another one of the study may be many times theirs.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.stats import nct
from scipy.stats import t as student

CONFIDENCE = 0.95
POWER = 0.8
MOST_SEEDS = 100
"""More are not counted."""
LARGEST_EFFECT = 1e3
"""In deviations; the noncentral distribution of Student is not computed reliably far beyond."""

Series = Mapping[tuple[str, int], float]
"""A score of one setting by split and seed."""


class Difference(NamedTuple):
    """How much higher one mean is than another."""

    mean: float
    deviation: float
    """Standard deviation over the pairs of runs; infinite, as it is unknown, with one pair."""
    num_runs: int
    """Pairs of runs."""
    num_splits: int

    def margin(self, comparisons: int = 1) -> float:
        """Return half the width of the confidence interval; infinite with one pair of runs.

        Args:
            comparisons: Of how many intervals all shall be right with the given confidence
                (Bonferroni's correction).
        """
        if self.num_runs == 1:
            return np.inf
        quantile = student.ppf(_level(comparisons), self.num_runs - 1)
        return float(quantile * self.deviation / np.sqrt(self.num_runs))

    def seeds(self, comparisons: int = 1) -> float:
        """Return with how many seeds, on the same splits, such a difference is shown.

        That is, with a probability of `POWER` where the true difference and the true noise are
        those that were measured. Infinite beyond `MOST_SEEDS`.

        Args:
            comparisons: As for `margin`.
        """
        if not self.deviation:
            return 2.0 if self.mean else np.inf
        runs = self.num_splits * np.arange(1, MOST_SEEDS + 1)
        runs = runs[runs > 1]
        quantiles = student.ppf(_level(comparisons), runs - 1)
        effects = np.sqrt(runs) * min(abs(self.mean) / self.deviation, LARGEST_EFFECT)
        enough = runs[nct.sf(quantiles, runs - 1, effects) >= POWER]
        return float(min(enough, default=np.inf)) / self.num_splits


def _level(comparisons: int) -> float:
    return 1 - (1 - CONFIDENCE) / (2 * comparisons)


def common_keys(points: Mapping[str, Series]) -> list[tuple[str, int]]:
    """Return the pairs of split and seed that every setting has, sorted."""
    keys = [set(series) for series in points.values()]
    return sorted(set.intersection(*keys)) if keys else []


def difference(better: Series, worse: Series) -> Difference:
    """Compare two settings over the pairs of split and seed that both have, at least one."""
    keys = common_keys({"better": better, "worse": worse})
    gaps = [better[key] - worse[key] for key in keys]
    deviation = float(np.std(gaps, ddof=1)) if len(gaps) > 1 else np.inf
    return Difference(float(np.mean(gaps)), deviation, len(gaps), len({split for split, _ in keys}))


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
