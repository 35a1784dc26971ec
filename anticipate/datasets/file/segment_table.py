"""Annotated segments of one part of a short-term data set, column by column."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int32

UNKNOWN = -1
"""Verb, noun and action of a segment whose annotation is withheld."""

NUMBERS = ("start", "stop", "verb", "noun", "action")
"""Names of the integer columns in a data file, in the order of the fields."""


class SegmentTable(NamedTuple):
    """Segments in the order of the release; row i of every column is segment i."""

    segment_ids: tuple[str, ...]
    video_ids: tuple[str, ...]
    starts: Int32[np.ndarray, " rows"]
    """First frame, counted from 1 at the annotation rate."""
    stops: Int32[np.ndarray, " rows"]
    """Last frame."""
    verbs: Int32[np.ndarray, " rows"]
    nouns: Int32[np.ndarray, " rows"]
    actions: Int32[np.ndarray, " rows"]

    @property
    def num_rows(self) -> int:
        """Number of segments."""
        return len(self.segment_ids)

    @property
    def numbers(self) -> tuple[Int32[np.ndarray, " rows"], ...]:
        """The integer columns, as `NUMBERS` names them."""
        return self[2:]

    def take(self, rows: Int[np.ndarray, " taken"]) -> "SegmentTable":
        """Return some of the segments.

        Args:
            rows: Positions of the segments to keep, in the order wanted.
        """
        segment_ids = tuple(self.segment_ids[row] for row in rows.tolist())
        video_ids = tuple(self.video_ids[row] for row in rows.tolist())
        return SegmentTable(segment_ids, video_ids, *(column[rows] for column in self.numbers))

    def by_video(self) -> dict[str, Int[np.ndarray, "..."]]:
        """Return the rows of each video, in the order of the release; videos as first named."""
        rows: dict[str, list[int]] = {}
        for row, video_id in enumerate(self.video_ids):
            rows.setdefault(video_id, []).append(row)
        return {video_id: np.array(own) for video_id, own in rows.items()}


def joined(tables: Sequence[SegmentTable]) -> SegmentTable:
    """Return the segments of several tables, one table after the other.

    Args:
        tables: At least one table.
    """
    segment_ids = tuple(name for table in tables for name in table.segment_ids)
    video_ids = tuple(name for table in tables for name in table.video_ids)
    columns = zip(*(table.numbers for table in tables), strict=True)
    return SegmentTable(segment_ids, video_ids, *map(np.concatenate, columns))
