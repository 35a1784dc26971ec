"""Segments -> the action of every frame, with an explicit rule where segments overlap."""

from typing import Literal

import numpy as np
from jaxtyping import Int32

from anticipate.data.segment_table import UNKNOWN, SegmentTable

Overlap = Literal["latest", "earliest"]
"""Which segment names a frame that several cover: the one that starts latest, or earliest."""


def frame_labels(
    segments: SegmentTable, num_frames: int, overlap: Overlap = "latest"
) -> Int32[np.ndarray, " numbers"]:
    """Return the action of each frame of one video; position n is frame n, position 0 no frame.

    Of segments that start together the first one in the release counts as the earliest, the last
    one as the latest.

    Args:
        segments: All segments of the video.
        num_frames: Last frame wanted; segments may go on beyond it.
        overlap: Which segment names a frame that several cover.
    """
    labels = np.full(num_frames + 1, UNKNOWN, np.int32)
    order = np.argsort(segments.starts, kind="stable")
    for row in order if overlap == "latest" else order[::-1]:
        labels[segments.starts[row] : segments.stops[row] + 1] = segments.actions[row]
    return labels
