"""The dense protocol as plain nested loops: how it is commonly evaluated, one frame at a time."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from anticipate.horizons import evaluation_window
from anticipate.protocol.dense_scores import PRED_RATIOS

Labels = Sequence[int]
Videos = Sequence[tuple[Sequence[Labels], Labels]]
"""Samples and labels of each video."""
Counts = tuple[list[int], list[int]]
"""Right and wrong frames of each true class."""


def loop_scores(
    videos: Videos, num_classes: int, obs_ratios: Sequence[float], measures: Sequence[str]
) -> Float64[np.ndarray, "ratios measures horizons"]:
    """Score videos one frame at a time.

    Args:
        videos: What to score.
        num_classes: Classes of the data set.
        obs_ratios: Observed shares.
        measures: What to return; diversity is counted when it is among them only.
    """
    found = [
        [loop_horizon(videos, num_classes, (obs, pred), measures) for pred in PRED_RATIOS]
        for obs in obs_ratios
    ]
    return np.array(found).transpose(0, 2, 1)


def loop_horizon(
    videos: Videos, num_classes: int, ratios: tuple[float, float], measures: Sequence[str]
) -> list[float]:
    """Score one observation ratio and one horizon."""
    mean, top1 = ([0] * num_classes, [0] * num_classes), ([0] * num_classes, [0] * num_classes)
    diversities = []
    for samples, targets in videos:
        window = range(*evaluation_window(len(targets), *ratios))
        counts = [_count(preds, targets, window, num_classes) for preds in samples]
        for sample in counts:
            _add(mean, sample)
        _add(top1, max(counts, key=_moc))
        if "frame_diversity" in measures:
            diversities.append(_diversity(samples, window, num_classes))
    scores = {
        "mean_moc": 100 * _moc(mean),
        "top1_moc": 100 * _moc(top1),
        "mof": 100 * sum(mean[0]) / (sum(mean[0]) + sum(mean[1])),
        "frame_diversity": sum(diversities) / max(len(diversities), 1),
    }
    return [scores[name] for name in measures]


def _count(preds: Labels, targets: Labels, window: range, num_classes: int) -> Counts:
    right, wrong = [0] * num_classes, [0] * num_classes
    for frame in window:
        target = targets[frame]
        if preds[frame] == target:
            right[target] += 1
        else:
            wrong[target] += 1
    return right, wrong


def _add(total: Counts, part: Counts) -> None:
    for into, counts in zip(total, part, strict=True):
        for name, count in enumerate(counts):
            into[name] += count


def _moc(counts: Counts) -> float:
    shares = [
        right / (right + wrong) for right, wrong in zip(*counts, strict=True) if right + wrong
    ]
    # Rounded, so that accuracies that are equal but for the order of summing are ties.
    return round(sum(shares) / len(shares), 12)


def _diversity(samples: Sequence[Labels], window: range, num_classes: int) -> float:
    """Return the share of differing pairs, from votes per frame, faster than from pairs."""
    num_pairs = len(samples) * (len(samples) - 1)
    differing = 0
    for frame in window:
        votes = [0] * num_classes
        for preds in samples:
            votes[preds[frame]] += 1
        differing += num_pairs - sum(count * (count - 1) for count in votes)
    return differing / (num_pairs * len(window))
