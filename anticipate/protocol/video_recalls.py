"""Hits by video: what an interval over videos, and the score of a participant, is made from."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

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


def balanced(
    recalls: Recalls, videos: Bool[np.ndarray, " videos"]
) -> Float64[np.ndarray, "hits_and_rows chosen"]:
    """Return hits and rows of some videos, every row weighing 1 / (rows of its class in them).

    Sums of hits over sums of rows are class-mean recalls: exactly for all of the videos, and for
    some of them with the weight of each class as in all, so that videos with other classes compare.

    Args:
        recalls: Counts of all videos.
        videos: The videos that are a group.
    """
    rows = recalls.rows[videos]
    weights = 1 / np.maximum(rows.sum(axis=0), 1)
    return np.stack([recalls.hits[videos] @ weights, rows @ weights])


def recall_of(weighed: Float64[np.ndarray, "hits_and_rows videos"]) -> float:
    """Return the recall, in percent, of some videos; NaN where they have no row.

    Args:
        weighed: Columns of what `balanced` returns.
    """
    hits, rows = weighed.sum(axis=1)
    return float(100 * hits / rows) if rows else float("nan")


def resampled_recalls(
    weighed: Float64[np.ndarray, "hits_and_rows videos"], seed: int = 0
) -> Float64[np.ndarray, " draws"]:
    """Return the recalls, in percent, of as many videos drawn with replacement, `DRAWS` times.

    NaN where a draw holds no row.

    Args:
        weighed: What `balanced` returns.
        seed: Seed of the draws.
    """
    count = weighed.shape[1]
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), DRAWS)
    hits, rows = weighed @ times.T
    with np.errstate(invalid="ignore"):
        return 100 * hits / rows


def interval(draws: Float64[np.ndarray, " draws"]) -> tuple[float, float]:
    """Return the ends of the middle 95 % of some draws."""
    rest = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(draws, [rest, 1 - rest])
    return float(low), float(high)
