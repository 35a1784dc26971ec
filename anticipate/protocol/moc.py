"""Exact counts of the dense protocol for one video, all horizons at once.

Horizons are nested: each is a prefix of the frames after the observation. So every frame is counted
once, in the shortest horizon that contains it, and running sums over the horizons give the rest;
and frames between two changes are counted together, as one run.

Only classes of the ground truth own counts: a false positive never counts against a class, so the
measures are recalls. Counts are integers; ratios of them are float64.

All is numpy: a video is too little work for the threads of torch, whose meeting costs up to
milliseconds per operation on a busy machine.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, Integer

from anticipate.types import NO_LABEL

ROUNDING = 1e-12
"""Accuracies closer than this are ties: far above float64 rounding, far below one frame."""


class Runs(NamedTuple):
    """Stretches of frames in which no sample, no label and no horizon changes.

    Predictions are made per token and actions last, so there are far fewer runs than frames.
    """

    preds: Integer[np.ndarray, "samples runs"]
    """Predicted class of each sample."""
    targets: Integer[np.ndarray, " runs"]
    """True class."""
    frames: Int64[np.ndarray, " runs"]
    """Length in frames."""
    horizon: Int64[np.ndarray, " runs"]
    """Index of the shortest horizon that contains the run."""


class ClassCounts(NamedTuple):
    """What a mean over classes needs to know about one video."""

    correct: Int64[np.ndarray, "horizons samples classes"]
    """Frames of each true class that a sample predicts right."""
    frames: Int64[np.ndarray, "horizons classes"]
    """Frames of each true class."""


def find_runs(
    preds: Integer[np.ndarray, "samples future_frames"],
    targets: Integer[np.ndarray, " future_frames"],
    horizons: Int64[np.ndarray, " horizons"],
) -> Runs:
    """Cut the scored frames of a video into runs.

    Args:
        preds: Predicted classes, first frame = first frame after the observation.
        targets: True classes of the same frames.
        horizons: Length of each horizon in frames, ascending to `future_frames`.

    >>> runs = find_runs(np.array([[0, 0, 1, 1]]), np.array([0, 1, 1, 1]), np.array([2, 4]))
    >>> runs.frames.tolist(), runs.horizon.tolist()
    ([1, 1, 2], [0, 0, 1])
    """
    num_frames = len(targets)
    ends = np.ones(num_frames, dtype=np.bool_)
    ends[:-1] = (preds[:, 1:] != preds[:, :-1]).any(0) | (targets[1:] != targets[:-1])
    ends[horizons[horizons > 0] - 1] = True
    last = ends.nonzero()[0]
    frames = last + 1
    frames[1:] -= frames[:-1].copy()
    return Runs(
        preds=preds[:, last],
        targets=targets[last],
        frames=frames,
        horizon=horizons.searchsorted(last, side="right"),
    )


def without_no_label(runs: Runs, num_classes: int) -> Runs:
    """Give frames for which a model names no class a class of their own, after all others."""
    none = runs.preds == NO_LABEL
    return runs._replace(preds=np.where(none, np.int64(num_classes), runs.preds))


def class_counts(runs: Runs, num_horizons: int, num_classes: int) -> ClassCounts:
    """Count, per horizon, the frames of each true class and how many of them each sample hits.

    Args:
        runs: The scored frames of a video, classes in [0, num_classes).
        num_horizons: Number of horizons.
        num_classes: Classes of the data set.

    >>> runs = find_runs(np.array([[0, 0, 1, 1]]), np.array([0, 1, 1, 1]), np.array([2, 4]))
    >>> counts = class_counts(runs, num_horizons=2, num_classes=2)
    >>> counts.correct.tolist()
    [[[1, 0]], [[1, 2]]]
    >>> counts.frames.tolist()
    [[1, 1], [1, 3]]
    """
    num_samples = len(runs.preds)
    # Few stretches of one horizon and true class hold many runs: add up within those first.
    begins = np.ones(len(runs.frames), dtype=np.bool_)
    begins[1:] = (runs.targets[1:] != runs.targets[:-1]) | (runs.horizon[1:] != runs.horizon[:-1])
    first = begins.nonzero()[0]
    frames = np.add.reduceat(runs.frames, first)
    hits = np.add.reduceat((runs.preds == runs.targets) * runs.frames, first, axis=1)
    horizon, targets = runs.horizon[first], runs.targets[first]
    frames = _sum_by(horizon * num_classes + targets, frames, (num_horizons, num_classes))
    rows = horizon * num_samples + np.arange(num_samples)[:, None]
    shape = (num_horizons, num_samples, num_classes)
    correct = _sum_by(rows * num_classes + targets, hits, shape)
    return ClassCounts(_up_to_horizon(correct), _up_to_horizon(frames))


def mean_over_classes(
    correct: Int64[np.ndarray, "*batch classes"] | Float64[np.ndarray, "*batch classes"],
    frames: Int64[np.ndarray, "*#batch classes"],
) -> Float64[np.ndarray, "*batch"]:
    """Return the mean over classes (MoC) of the share of a class's frames that are correct.

    Classes without frames take no part; NaN where no class has frames.

    >>> mean_over_classes(np.array([[1, 3, 0]]), np.array([[2, 4, 0]])).tolist()
    [0.625]
    """
    shares = correct / np.maximum(frames, 1)
    return quotient(shares.sum(-1), (frames > 0).sum(-1))


def quotient(
    dividend: Float64[np.ndarray, "*batch"] | Int64[np.ndarray, "*batch"],
    divisor: Int64[np.ndarray, "*#batch"],
) -> Float64[np.ndarray, "*batch"]:
    """Divide; 0 / 0 is NaN: there is nothing to measure.

    >>> quotient(np.array([1, 0]), np.array([2, 0])).tolist()
    [0.5, nan]
    """
    with np.errstate(invalid="ignore"):
        return dividend / divisor


def best_samples(counts: ClassCounts) -> Int64[np.ndarray, " horizons"]:
    """Return, per horizon, the sample with the largest MoC of the video; the first one on ties.

    >>> frames = np.array([[3, 3, 3]])
    >>> correct = np.array([[[0, 0, 3], [1, 2, 3], [3, 2, 1]]])
    >>> best_samples(ClassCounts(correct, frames)).tolist()
    [1]
    """
    # Without frames all samples are NaN, nothing is a tie, and argmax is the first one.
    moc = mean_over_classes(counts.correct, counts.frames[:, None])
    return (moc >= moc.max(1, keepdims=True) - ROUNDING).argmax(1)


def frame_diversity(
    runs: Runs, num_horizons: int, num_classes: int
) -> Float64[np.ndarray, " horizons"]:
    """Return, per horizon, the share of differing frames, averaged over all pairs of samples.

    With n_c of S samples predicting class c at a frame, `sum_c n_c (n_c - 1)` of the `S (S - 1)`
    ordered pairs agree there; so no pair is ever formed.

    Args:
        runs: The scored frames of a video, classes in [0, num_classes).
        num_horizons: Number of horizons.
        num_classes: Classes of the data set.

    Returns:
        0 (all samples equal) to 1; NaN for a horizon without frames and for a single sample, which
        has no pair.

    >>> preds = np.array([[0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]])
    >>> runs = find_runs(preds, np.array([0, 0, 0, 0]), np.array([2, 4]))
    >>> frame_diversity(runs, num_horizons=2, num_classes=2).tolist()
    [0.0, 0.3333333333333333]
    """
    num_samples, num_runs = runs.preds.shape
    bins = np.arange(num_runs) * num_classes + runs.preds
    votes = np.bincount(bins.ravel(), minlength=num_runs * num_classes)
    votes = votes.reshape(num_runs, num_classes)
    agreeing = np.einsum("rc,rc->r", votes, votes) - num_samples
    num_pairs = num_samples * (num_samples - 1)
    differing = _sum_by(runs.horizon, (num_pairs - agreeing) * runs.frames, (num_horizons,))
    frames = _sum_by(runs.horizon, runs.frames, (num_horizons,))
    return quotient(_up_to_horizon(differing), _up_to_horizon(frames) * num_pairs)


def _sum_by(
    bins: Int64[np.ndarray, "*any"], counts: Int64[np.ndarray, "*any"], shape: tuple[int, ...]
) -> Int64[np.ndarray, "..."]:
    """Add counts up by flat index; float64 sums of them are exact, as they stay far below 2^53."""
    sums = np.bincount(bins.ravel(), counts.ravel(), minlength=math.prod(shape))
    return sums.astype(np.int64).reshape(shape)


def _up_to_horizon(counts: Int64[np.ndarray, "horizons ..."]) -> Int64[np.ndarray, "horizons ..."]:
    """Add to each horizon, in place, those that it contains; cumsum is slow over a few rows."""
    for horizon in range(1, len(counts)):
        counts[horizon] += counts[horizon - 1]
    return counts
