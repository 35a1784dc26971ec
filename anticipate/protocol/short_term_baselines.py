"""Baselines of short-term anticipation: how frequent actions are, and which one began last."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int, Int64

NEVER = 1e-6
"""Rows that an action without training rows counts as, which keeps its logarithm finite."""


class FrequencyPrior:
    """Scores every row with the logarithm of the actions' training rows.

    Args:
        class_counts: Training rows of each action.
    """

    def __init__(self, class_counts: Sequence[int]) -> None:
        self._logits = np.log(np.maximum(np.asarray(class_counts, np.float64), NEVER))

    def forecast(self, num_rows: int) -> Float64[np.ndarray, "rows actions"]:
        """Return the same scores for each row."""
        return np.tile(self._logits, (num_rows, 1))


NONE = -1
"""Last action where nothing has begun yet."""


class RepeatLast:
    """Gives at least half the probability to the last action, the rest to the frequency prior.

    Args:
        class_counts: Training rows of each action.
    """

    def __init__(self, class_counts: Sequence[int]) -> None:
        self._prior = FrequencyPrior(class_counts)

    def forecast(
        self, last_actions: Int[np.ndarray, " rows"]
    ) -> Float64[np.ndarray, "rows actions"]:
        """Score every action.

        Args:
            last_actions: Last action of each row, `NONE` where nothing has begun.
        """
        logits = self._prior.forecast(len(last_actions))
        rows = np.flatnonzero(last_actions != NONE)
        logits[rows, last_actions[rows]] = np.logaddexp.reduce(logits[:1], axis=1)
        return logits


def last_started(
    video_ids: Sequence[str],
    starts: Int[np.ndarray, " rows"],
    actions: Int[np.ndarray, " rows"],
    gap: int,
) -> Int64[np.ndarray, " rows"]:
    """Return the action that began last before each row's observation ended.

    Args:
        video_ids: Video of each annotated row.
        starts: First frame of each row.
        actions: Action of each row.
        gap: Frames from the end of the observation to the start of the row, at least 1.

    Returns:
        Action of the row of the same video with the latest start at or before `start - gap`; of
        several that start at once, the one annotated last; `NONE` where there is none.
    """
    _, videos = np.unique(np.asarray(video_ids), return_inverse=True)
    # One axis for all videos, so far apart that no observation ends in an earlier one.
    times = videos * (int(starts.max(initial=0)) + gap + 1) + starts
    order = np.argsort(times, kind="stable")
    last = np.searchsorted(times[order], times - gap, side="right") - 1
    rows = order[last.clip(0)]
    begun = (last >= 0) & (videos[rows] == videos)
    return np.where(begun, actions[rows], NONE).astype(np.int64)
