"""Hits by video: what an interval over videos, and the score of a participant, is made from."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from anticipate.protocol.recall import class_mean_recall
from anticipate.protocol.short_term_scores import RankCounts
from anticipate.types import ShortTermProtocol

CONFIDENCE = 0.95
DRAWS = 1000
"""Resamples of the videos behind an interval."""


class Recalls(NamedTuple):
    """Counts of one task, from which the recalls of any group of videos follow."""

    rows: Int64[np.ndarray, "videos classes"]
    """Scored rows of each true class."""
    hits: Int64[np.ndarray, "videos classes"]
    """Those whose class is among the first five."""


class VideoRecalls(RankCounts):
    """Counts of each video and class, for verb, noun and action.

    Args:
        protocol: What is scored, and on which rows and classes.
        video_of: Video of each segment that may be scored.
    """

    def __init__(
        self, protocol: ShortTermProtocol, video_of: Mapping[str, str], **kwargs: Any
    ) -> None:
        super().__init__(protocol, list(dict.fromkeys(video_of.values())), **kwargs)
        self.video_of = video_of

    def members(self, task: str, segment_ids: Sequence[str]) -> Bool[np.ndarray, "videos rows"]:
        """Tell which rows each video holds."""
        videos = np.array([self.video_of[segment_id] for segment_id in segment_ids])
        return np.array(self.subsets)[:, None] == videos

    def compute(self) -> dict[str, Recalls]:
        """Return the counts by task, summed over processes."""
        counted = {task: self.counts(task) for task in self._tasks.num_classes}
        return {task: Recalls(counts.rows, counts.top5) for task, counts in counted.items()}


def recall_of(recalls: Recalls, videos: Bool[np.ndarray, " videos"]) -> float:
    """Return the class-mean top-5 recall of some videos in percent; NaN where they have no row."""
    hits, rows = (
        counts[videos].sum(axis=0, keepdims=True) for counts in (recalls.hits, recalls.rows)
    )
    return 100 * class_mean_recall(hits, rows).item()


def resampled_recalls(
    recalls: Recalls, videos: Bool[np.ndarray, " videos"], seed: int = 0
) -> Float64[np.ndarray, " draws"]:
    """Return the recalls, in percent, of as many videos drawn with replacement, `DRAWS` times.

    Classes that a draw does not hold are no part of its mean.

    Args:
        recalls: Counts of all videos.
        videos: The videos to draw from.
        seed: Seed of the draws.
    """
    count = int(videos.sum())
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), DRAWS)
    hits, rows = (  # as floats, whose products are fast and here exact
        (times.astype(np.float64) @ counts[videos]).astype(np.int64)
        for counts in (recalls.hits, recalls.rows)
    )
    return 100 * class_mean_recall(hits, rows)


def interval(draws: Float64[np.ndarray, " draws"]) -> tuple[float, float]:
    """Return the ends of the middle 95 % of some draws."""
    rest = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(draws, [rest, 1 - rest])
    return float(low), float(high)
