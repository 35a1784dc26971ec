"""Scores of one Breakfast-like split, compared with loops over samples and frames."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64

from anticipate.horizons import evaluation_window
from anticipate.lab.benchmark.timing import Group, compare
from anticipate.protocol.dense_scores import PRED_RATIOS, DenseScores

NUM_CLASSES = 48
OBS_RATIOS = (0.2, 0.3)
LENGTHS = {0: 130, 5: 396, 25: 762, 50: 1373, 75: 3013, 95: 5864, 100: 9741}
"""Percentiles of the frames of Breakfast's videos."""
SEGMENT = 300
"""Mean frames of a segment, about as in Breakfast."""


class Video(NamedTuple):
    """Labels and predictions of one video."""

    preds: Int64[np.ndarray, "samples frames"]
    targets: Int64[np.ndarray, " frames"]


Labels = tuple[list[list[int]], list[int]]
"""Samples and true labels of one video."""
Counts = tuple[list[int], list[int]]
"""Right and wrong frames of each true class."""


def run(quick: bool, repeats: int) -> list[Group]:
    """Measure 252 videos, 25 samples, 2 observation ratios and 4 horizons."""
    videos = make_videos(6 if quick else 252, 3 if quick else 25, shrink=20 if quick else 1)
    labels = [(video.preds.tolist(), video.targets.tolist()) for video in videos]
    candidates = {
        "anticipate": partial(dense_scores, videos),
        "loop over frames": partial(loop_scores, labels),
    }
    title = f"Mean and Top-1 MoC of {len(videos)} videos, {len(videos[0].preds)} samples"
    return [compare(title, candidates, repeats)]


def dense_scores(videos: Sequence[Video]) -> Float64[np.ndarray, "ratios horizons measures"]:
    """Score with the metric of this package, which counts two more measures."""
    found = []
    for obs_ratio in OBS_RATIOS:
        metric = DenseScores(NUM_CLASSES, obs_ratio)
        for video in videos:
            metric.update(torch.from_numpy(video.preds), torch.from_numpy(video.targets))
        document = metric.compute()
        found.append(
            [[document[name][str(r)] for name in ("mean_moc", "top1_moc")] for r in PRED_RATIOS]
        )
    return np.array(found)


def loop_scores(videos: Sequence[Labels]) -> Float64[np.ndarray, "ratios horizons measures"]:
    """Score as is commonly done, one frame at a time."""
    return np.array(
        [[_loop_horizon(videos, obs, pred) for pred in PRED_RATIOS] for obs in OBS_RATIOS]
    )


def _loop_horizon(
    videos: Sequence[Labels], obs_ratio: float, pred_ratio: float
) -> tuple[float, float]:
    mean, top1 = ([0] * NUM_CLASSES, [0] * NUM_CLASSES), ([0] * NUM_CLASSES, [0] * NUM_CLASSES)
    for samples, targets in videos:
        window = range(*evaluation_window(len(targets), obs_ratio, pred_ratio))
        counts = [_count(preds, targets, window) for preds in samples]
        for total, parts in ((mean, counts), (top1, [max(counts, key=_moc)])):
            for part in parts:
                for into, numbers in zip(total, part, strict=True):
                    for label, number in enumerate(numbers):
                        into[label] += number
    return 100 * _moc(mean), 100 * _moc(top1)


def _count(preds: list[int], targets: list[int], window: range) -> Counts:
    right, wrong = [0] * NUM_CLASSES, [0] * NUM_CLASSES
    for frame in window:
        (right if preds[frame] == targets[frame] else wrong)[targets[frame]] += 1
    return right, wrong


def _moc(counts: Counts) -> float:
    shares = [
        right / (right + wrong) for right, wrong in zip(*counts, strict=True) if right + wrong
    ]
    # Rounded, so that accuracies that are equal but for the order of summing are ties.
    return round(sum(shares) / len(shares), 12)


def make_videos(num_videos: int, num_samples: int, shrink: int) -> list[Video]:
    """Return videos of Breakfast's lengths over `shrink`, labels and predictions in segments.

    Each sample is a mixture of the labels and of segments of its own, so that all measures lie
    away from their extremes.
    """
    generator = np.random.default_rng(0)
    percentiles = generator.uniform(0, 100, num_videos)
    lengths = np.interp(percentiles, list(LENGTHS), list(LENGTHS.values())) / shrink
    videos = []
    for num_frames in lengths.astype(int).tolist():
        targets = _segments(generator, 1, num_frames, shrink)[0]
        own = _segments(generator, num_samples, num_frames, shrink)
        right = _segments(generator, num_samples, num_frames, shrink) % 2 == 0
        videos.append(Video(np.where(right, targets, own), targets))
    return videos


def _segments(
    generator: np.random.Generator, rows: int, num_frames: int, shrink: int
) -> Int64[np.ndarray, "rows frames"]:
    """Draw rows of labels that change every SEGMENT frames on average."""
    changes = generator.random((rows, num_frames)) < shrink / SEGMENT
    segment = changes.cumsum(axis=1)
    labels = generator.integers(NUM_CLASSES, size=(rows, segment.max() + 1))
    return np.take_along_axis(labels, segment, axis=1)
