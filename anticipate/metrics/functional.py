"""Exact counts of the dense protocol for one video, all horizons at once.

Horizons are nested: each is a prefix of the frames after the observation. So every frame is counted
once, in the shortest horizon that contains it, and running sums over the horizons give the rest.

Only classes of the ground truth own counts: a false positive never counts against a class, so the
measures are recalls. Counts are integers; ratios of them are float64.

All is numpy: a video is too little work for the threads of torch, whose meeting costs up to
milliseconds per operation on a busy machine.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, Integer

ROUNDING = 1e-12
"""Accuracies closer than this are ties: far above float64 rounding, far below one frame."""


class ClassCounts(NamedTuple):
    """What a mean over classes needs to know about one video."""

    correct: Int64[np.ndarray, "horizons samples classes"]
    """Frames of each true class that a sample predicts right."""
    frames: Int64[np.ndarray, "horizons classes"]
    """Frames of each true class."""


def class_counts(
    preds: Integer[np.ndarray, "samples future_frames"],
    targets: Integer[np.ndarray, " future_frames"],
    horizons: Int64[np.ndarray, " horizons"],
    num_classes: int,
) -> ClassCounts:
    """Count, per horizon, the frames of each true class and how many of them each sample hits.

    Args:
        preds: Predicted classes, first frame = first frame after the observation.
        targets: True classes of the same frames, each in [0, num_classes).
        horizons: Length of each horizon in frames, ascending to `future_frames`.
        num_classes: Classes of the data set.

    >>> preds, targets = np.array([[0, 0, 1, 1]]), np.array([0, 1, 1, 1])
    >>> counts = class_counts(preds, targets, np.array([2, 4]), num_classes=2)
    >>> counts.correct.tolist()
    [[[1, 0]], [[1, 2]]]
    >>> counts.frames.tolist()
    [[1, 1], [1, 3]]
    """
    (num_samples, num_frames), num_horizons = preds.shape, len(horizons)
    first_horizon = np.searchsorted(horizons, np.arange(num_frames), side="right")
    bins = first_horizon * num_classes + targets
    # Labels change seldom: hits are summed over runs of frames that belong to one bin.
    starts = np.flatnonzero(np.diff(bins, prepend=-1))
    # reduceat knows no empty result, and a window without frames has no run.
    hits = (preds == targets).astype(np.int32)
    runs = np.add.reduceat(hits, starts, axis=1) if num_frames else hits
    correct = np.zeros((num_horizons * num_classes, num_samples), np.int64)
    np.add.at(correct, bins[starts], runs.T)
    frames = np.bincount(bins, minlength=len(correct)).reshape(num_horizons, num_classes)
    correct = correct.reshape(num_horizons, num_classes, num_samples).cumsum(0)
    return ClassCounts(correct.transpose(0, 2, 1), frames.cumsum(0))


def mean_over_classes(
    correct: Int64[np.ndarray, "*batch classes"], frames: Int64[np.ndarray, "*#batch classes"]
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
    moc = np.nan_to_num(mean_over_classes(counts.correct, counts.frames[:, None]))
    return (moc >= moc.max(1, keepdims=True) - ROUNDING).argmax(1)


def frame_diversity(
    preds: Integer[np.ndarray, "samples future_frames"],
    horizons: Int64[np.ndarray, " horizons"],
    num_classes: int,
) -> Float64[np.ndarray, " horizons"]:
    """Return, per horizon, the share of differing frames, averaged over all pairs of samples.

    With n_c of S samples predicting class c at a frame, `sum_c n_c (n_c - 1)` of the `S (S - 1)`
    ordered pairs agree there; so no pair is ever formed.

    Args:
        preds: Predicted classes, each in [0, num_classes), first frame after the observation first.
        horizons: Length of each horizon in frames, at most `future_frames`.
        num_classes: Classes of the data set.

    Returns:
        0 (all samples equal) to 1; NaN for a horizon without frames and for a single sample, which
        has no pair.

    >>> preds = np.array([[0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]])
    >>> frame_diversity(preds, np.array([2, 4]), num_classes=2).tolist()
    [0.0, 0.3333333333333333]
    """
    num_samples, num_frames = preds.shape
    bins = np.arange(num_frames) * num_classes + preds
    votes = np.bincount(bins.ravel(), minlength=num_frames * num_classes)
    votes = votes.reshape(num_frames, num_classes)
    agreeing = np.einsum("fc,fc->f", votes, votes) - num_samples
    agreeing_until = np.concatenate([[0], agreeing.cumsum()])
    pairs = horizons * (num_samples * (num_samples - 1))
    return quotient(pairs - agreeing_until[horizons], pairs)
