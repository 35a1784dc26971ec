"""Scores of one Breakfast-like split, compared with loops over samples and frames."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64

from anticipate.lab.benchmark.frame_loop import loop_scores
from anticipate.lab.benchmark.speed_table import Group, Report
from anticipate.lab.benchmark.timing import compare
from anticipate.protocol.dense_scores import PRED_RATIOS, DenseScores

NUM_CLASSES = 48
OBS_RATIOS = (0.2, 0.3)
LENGTHS = {0: 130, 5: 396, 25: 762, 50: 1373, 75: 3013, 95: 5864, 100: 9741}
"""Percentiles of the frames of Breakfast's videos."""
SEGMENT = 300
"""Mean frames of a segment, about as in Breakfast."""

MOC = ("mean_moc", "top1_moc")
ALL = (*MOC, "mof", "frame_diversity")


class Video(NamedTuple):
    """Labels and predictions of one video."""

    preds: Int64[np.ndarray, "samples frames"]
    targets: Int64[np.ndarray, " frames"]


def run(quick: bool, repeats: int) -> Report:
    """Measure 252 videos, 25 samples, 2 observation ratios and 4 horizons."""
    videos = make_videos(6 if quick else 252, 3 if quick else 25, shrink=20 if quick else 1)
    return Report((scores(videos, ALL, repeats), scores(videos, MOC, repeats)))


def scores(videos: Sequence[Video], measures: Sequence[str], repeats: int) -> Group:
    """Compare with a loop that counts these measures alone; ours always counts all four."""
    lists = [(video.preds.tolist(), video.targets.tolist()) for video in videos]
    candidates = {
        "anticipate": partial(dense_scores, videos, measures),
        "loop over frames": partial(loop_scores, lists, NUM_CLASSES, OBS_RATIOS, measures),
    }
    title = f"{len(videos)} videos, {len(videos[0].preds)} samples: {', '.join(measures)}"
    return compare(title, candidates, repeats)


def dense_scores(
    videos: Sequence[Video], measures: Sequence[str]
) -> Float64[np.ndarray, "ratios measures horizons"]:
    """Score with the metric of this package."""
    found = []
    for obs_ratio in OBS_RATIOS:
        metric = DenseScores(NUM_CLASSES, obs_ratio)
        for video in videos:
            metric.update(torch.from_numpy(video.preds), torch.from_numpy(video.targets))
        document = metric.compute()
        found.append([[document[name][str(r)] for r in PRED_RATIOS] for name in measures])
    return np.array(found)


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
