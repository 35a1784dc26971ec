"""What sampled futures are worth besides their scores.

How many it takes, whether the share of the samples that agree can be trusted, and whether they look
like annotated futures. All of it needs nothing but futures and labels, so it is measured for any
predictions file and for baselines alike.
"""

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, Integer
from scipy.stats import wasserstein_distance

from anticipate.protocol.moc import (
    ROUNDING,
    ClassCounts,
    Runs,
    class_counts,
    mean_over_classes,
    quotient,
)
from anticipate.segments import Segments
from anticipate.types import NO_LABEL

Levels = Int64[np.ndarray, " levels"]
"""Frames by how many of the samples say a class there: none, one, .. all."""


class BestOfSubsets:
    """Top-1 MoC for fewer samples than were drawn: the mean over all subsets of each size.

    The best sample of a subset is the one with the largest MoC of the video, the first on ties. Its
    rank among all N samples is r (from 0) in C(N - 1 - r, n - 1) of the C(N, n) subsets of n, so no
    subset is ever drawn. Size 1 gives Mean MoC, size N Top-1 MoC.

    Args:
        num_classes: Classes of the data set.
        sizes: Sizes of the subsets.
    """

    def __init__(self, num_classes: int, sizes: Sequence[int]) -> None:
        self.num_classes, self.sizes = num_classes, tuple(sizes)
        self._correct: np.ndarray | float = 0.0
        self._frames: np.ndarray | int = 0

    def update(self, runs: Runs, num_horizons: int) -> None:
        """Count one video."""
        counts = class_counts(runs, num_horizons, self.num_classes)
        weights = subset_weights(len(runs.preds), self.sizes)
        ranks = ranked_samples(counts)
        ranked = np.take_along_axis(counts.correct, ranks[..., None], axis=1)
        self._correct = self._correct + np.einsum("nr,hrc->nhc", weights, ranked)
        self._frames = self._frames + counts.frames

    def compute(self) -> Float64[np.ndarray, "sizes horizons"]:
        """Return the percentage for each size and horizon."""
        return 100 * mean_over_classes(np.asarray(self._correct), np.asarray(self._frames))


def subset_weights(num_samples: int, sizes: Sequence[int]) -> Float64[np.ndarray, "sizes samples"]:
    """Return how probably the best of a random subset has each rank among all samples.

    >>> subset_weights(3, (1, 2, 3)).round(3).tolist()
    [[0.333, 0.333, 0.333], [0.667, 0.333, 0.0], [1.0, 0.0, 0.0]]
    """
    return np.array(
        [
            [
                comb(num_samples - 1 - rank, n - 1) / comb(num_samples, n)
                for rank in range(num_samples)
            ]
            for n in sizes
        ]
    )


def ranked_samples(counts: ClassCounts) -> Int64[np.ndarray, "horizons samples"]:
    """Return the samples of a video from the best to the worst; the first one first on ties."""
    moc = np.nan_to_num(mean_over_classes(counts.correct, counts.frames[:, None]))
    order = np.argsort(-moc, axis=1, kind="stable")
    descents = -np.diff(np.take_along_axis(moc, order, axis=1), axis=1, prepend=moc.max(1)[:, None])
    ties = np.cumsum(descents > ROUNDING, axis=1)
    return np.take_along_axis(order, np.lexsort((order, ties)), axis=1)


class Votes(NamedTuple):
    """Pairs of a frame and a class by how many samples say the class there."""

    said: Levels
    """Pairs; 0 at level 0, as classes that nobody says tell nothing."""
    right: Levels
    """Those whose class is the true one; at level 0 the frames whose class nobody says."""

    @property
    def shares(self) -> Float64[np.ndarray, " levels"]:
        """Share of the samples at each level."""
        return np.arange(len(self.said)) / max(len(self.said) - 1, 1)

    @property
    def frequencies(self) -> Float64[np.ndarray, " levels"]:
        """How often what is said is right, at each level; NaN where nothing is said."""
        return quotient(np.where(self.said > 0, self.right, 0), self.said)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: |share - frequency| for what a random sample says.

        NaN where no sample says a class.
        """
        weights = self.said * np.arange(len(self.said))
        gaps = np.abs(np.nan_to_num(self.frequencies) - self.shares)
        return float((weights * gaps).sum() / weights.sum()) if weights.any() else float("nan")

    def of_samples(self) -> "Votes":
        """Return the votes of all samples but one, for that one in the place of the truth.

        With few samples even those of a perfect model are over-confident: a class is more often
        said by most of 25 samples than it is likely. This is how much.
        """
        levels, num_samples = np.arange(len(self.said) - 1), len(self.said) - 1
        right = (levels + 1) * self.said[1:]
        said = right + (num_samples - levels) * self.said[:-1]
        return Votes(np.where(levels > 0, said, 0), right)


def count_votes(runs: Runs, num_classes: int) -> Votes:
    """Count the votes of the samples of a video.

    Args:
        runs: The scored frames of a video, classes in [0, num_classes], the last one none.
        num_classes: Classes of the data set.

    >>> from anticipate.protocol.moc import find_runs
    >>> runs = find_runs(np.array([[0, 0], [0, 1]]), np.array([0, 0]), np.array([2]))
    >>> count_votes(runs, 2)
    Votes(said=array([0, 2, 1]), right=array([0, 1, 1]))
    """
    num_samples, num_runs = runs.preds.shape
    bins = np.arange(num_runs) * (num_classes + 1) + runs.preds
    votes = np.bincount(bins.ravel(), minlength=num_runs * (num_classes + 1))
    votes = votes.reshape(num_runs, num_classes + 1)[:, :num_classes]

    def frames_at(levels: np.ndarray, frames: np.ndarray) -> Levels:
        return np.bincount(levels.ravel(), frames.ravel(), num_samples + 1).astype(np.int64)

    said = frames_at(votes, np.broadcast_to(runs.frames[:, None], votes.shape))
    said[0] = 0
    right = frames_at(votes[np.arange(num_runs), runs.targets], runs.frames)
    return Votes(said, right)


class Durations:
    """How long segments last, and how many there are, in sampled and in annotated futures.

    Both are cut by the same window: the segment that goes on at its start, and the last one.
    """

    def __init__(self) -> None:
        self._sampled: list[np.ndarray] = []
        self._true: list[np.ndarray] = []

    def update(
        self,
        preds: Integer[np.ndarray, "samples future_frames"],
        targets: Integer[np.ndarray, " future_frames"],
    ) -> None:
        """Take one video."""
        self._true.append(Segments.from_frames(targets).lengths)
        for frames in preds:
            self._sampled.append(Segments.from_frames(frames[frames != NO_LABEL]).lengths)

    @property
    def sampled(self) -> Int64[np.ndarray, " segments"]:
        """Frames of each sampled segment."""
        return np.concatenate(self._sampled)

    @property
    def true(self) -> Int64[np.ndarray, " segments"]:
        """Frames of each annotated segment."""
        return np.concatenate(self._true)

    @property
    def num_sampled(self) -> Int64[np.ndarray, " futures"]:
        """Segments of each sampled future."""
        return np.array([len(lengths) for lengths in self._sampled])

    @property
    def num_true(self) -> Int64[np.ndarray, " futures"]:
        """Segments of each annotated future."""
        return np.array([len(lengths) for lengths in self._true])

    @property
    def distance(self) -> float:
        """Wasserstein-1 distance of the logarithms of durations: 0.1 is about 10 % of a length.

        NaN where there is no segment.
        """
        if not len(self.sampled) or not len(self.true):
            return float("nan")
        return float(wasserstein_distance(np.log(self.sampled), np.log(self.true)))
