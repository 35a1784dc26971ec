"""Frame labels <-> segments: runs of equal labels, without a gap, from the first frame on."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Integer


class Segments(NamedTuple):
    """A label sequence as runs; neighbouring runs differ when they come from `from_frames`."""

    labels: Integer[np.ndarray, " segments"]
    """Class of each segment, in the integer type of the frame labels."""
    lengths: Integer[np.ndarray, " segments"]
    """Frames in each segment (int64)."""

    @classmethod
    def from_frames(cls, frame_labels: Integer[np.ndarray, " frames"]) -> "Segments":
        """Group frames into runs of equal labels; no frames give no segments."""
        # A first neighbour that differs opens the first run, and none where there are no frames.
        starts = np.flatnonzero(np.diff(frame_labels, prepend=frame_labels[:1] + 1))
        return cls(frame_labels[starts], np.diff(starts, append=len(frame_labels)))

    @property
    def starts(self) -> Integer[np.ndarray, " segments"]:
        """First frame of each segment (int64)."""
        return np.cumsum(self.lengths) - self.lengths

    def to_frames(self) -> Integer[np.ndarray, " frames"]:
        """Repeat each label over the frames of its segment."""
        return np.repeat(self.labels, self.lengths)
