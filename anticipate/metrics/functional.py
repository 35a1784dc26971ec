"""Exact counts of the dense protocol for one video, all horizons at once.

Horizons are nested: each is a prefix of the frames after the observation. So every frame is counted
once, in the shortest horizon that contains it, and running sums over the horizons give the rest.

Only classes of the ground truth own counts: a false positive never counts against a class, so the
measures are recalls. Counts are integers; ratios of them are float64.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float64, Int64, Integer
from torch import Tensor

ROUNDING = 1e-12
"""Accuracies closer than this are ties: far above float64 rounding, far below one frame."""


class ClassCounts(NamedTuple):
    """What a mean over classes needs to know about one video."""

    correct: Int64[Tensor, "horizons samples classes"]
    """Frames of each true class that a sample predicts right."""
    frames: Int64[Tensor, "horizons classes"]
    """Frames of each true class."""


def class_counts(
    preds: Integer[Tensor, "samples future_frames"],
    targets: Integer[Tensor, " future_frames"],
    horizons: Int64[Tensor, " horizons"],
    num_classes: int,
) -> ClassCounts:
    """Count, per horizon, the frames of each true class and how many of them each sample hits.

    Args:
        preds: Predicted classes, first frame = first frame after the observation.
        targets: True classes of the same frames, each in [0, num_classes).
        horizons: Length of each horizon in frames, ascending to `future_frames`.
        num_classes: Classes of the data set.

    >>> preds, targets = torch.tensor([[0, 0, 1, 1]]), torch.tensor([0, 1, 1, 1])
    >>> counts = class_counts(preds, targets, torch.tensor([2, 4]), num_classes=2)
    >>> counts.correct.tolist()
    [[[1, 0]], [[1, 2]]]
    >>> counts.frames.tolist()
    [[1, 1], [1, 3]]
    """
    num_samples, num_frames = preds.shape
    num_bins = len(horizons) * num_classes
    frame_index = torch.arange(num_frames, device=preds.device)
    first_horizon = torch.bucketize(frame_index, horizons, right=True)
    bins = first_horizon * num_classes + targets
    # Misses fall into one more bin per sample: no boolean indexing, so no wait for the device.
    stride = num_bins + 1
    sample_starts = torch.arange(num_samples, device=preds.device).unsqueeze(1) * stride
    hit_bins = sample_starts + torch.where(preds == targets, bins, num_bins)
    hits = torch.bincount(hit_bins.flatten(), minlength=num_samples * stride)
    hits = hits.reshape(num_samples, stride)[:, :num_bins]
    hits = hits.reshape(num_samples, len(horizons), num_classes).cumsum(1)
    frames = torch.bincount(bins, minlength=num_bins).reshape(len(horizons), num_classes).cumsum(0)
    return ClassCounts(hits.transpose(0, 1), frames)


def mean_over_classes(
    correct: Int64[Tensor, "*batch classes"], frames: Int64[Tensor, "*#batch classes"]
) -> Float64[Tensor, "*batch"]:
    """Return the mean over classes (MoC) of the share of a class's frames that are correct.

    Classes without frames take no part; NaN where no class has frames.

    >>> mean_over_classes(torch.tensor([1, 3, 0]), torch.tensor([2, 4, 0])).item()
    0.625
    """
    shares = correct.double() / frames.clamp(min=1)
    return shares.sum(-1) / (frames > 0).sum(-1)


def best_samples(counts: ClassCounts) -> Int64[Tensor, " horizons"]:
    """Return, per horizon, the sample with the largest MoC of the video; the first one on ties.

    >>> frames = torch.tensor([[3, 3, 3]])
    >>> correct = torch.tensor([[[0, 0, 3], [1, 2, 3], [3, 2, 1]]])
    >>> best_samples(ClassCounts(correct, frames)).tolist()
    [1]
    """
    moc = mean_over_classes(counts.correct, counts.frames.unsqueeze(1)).nan_to_num()
    ties = moc >= moc.amax(1, keepdim=True) - ROUNDING
    return ties.long().argmax(1)


def frame_diversity(
    preds: Integer[Tensor, "samples future_frames"],
    horizons: Int64[Tensor, " horizons"],
    num_classes: int,
) -> Float64[Tensor, " horizons"]:
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

    >>> preds = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]])
    >>> frame_diversity(preds, torch.tensor([2, 4]), num_classes=2).tolist()
    [0.0, 0.3333333333333333]
    """
    num_samples, num_frames = preds.shape
    bins = torch.arange(num_frames, device=preds.device) * num_classes + preds
    votes = torch.bincount(bins.flatten(), minlength=num_frames * num_classes)
    # Summing n_c once per sample of class c gives sum_c n_c^2 without visiting the empty classes.
    agreeing = votes.index_select(0, bins.flatten()).reshape(bins.shape).sum(0) - num_samples
    agreeing_until = torch.nn.functional.pad(agreeing.cumsum(0), (1, 0))
    pairs = horizons * (num_samples * (num_samples - 1))
    return (pairs - agreeing_until[horizons]).double() / pairs
