"""Which frames a clip of short-term anticipation reads, and what each of its steps has to predict.

Step k of S lies (S - 1 - k) step times before the newest one, and the newest one lies the
anticipation time before the segment starts; frame numbers are rounded towards the past, as in
frame = start - ceil(fps (anticipation_time + steps_back step_time)) of AGA's released code. Frames
count from 1; number 0 stands for a moment before the video, of which nothing is seen.
"""

import math
import zlib
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from anticipate.data.frame_labels import Overlap, frame_labels
from anticipate.data.segment_table import UNKNOWN, SegmentTable
from anticipate.types import PAD_LABEL

ShortPast = Literal["drop", "pad"]
"""What becomes of a segment that starts before anything may be seen: left out, or given zeros."""

BEFORE_VIDEO = 0
"""Frame number of a moment before the video."""


class StepGrid(NamedTuple):
    """Moments at which a clip looks at its video."""

    num_steps: int
    step_time: float
    """Seconds from one step to the next."""
    anticipation_time: float
    """Seconds from the newest step to the start of the segment."""

    def lead_frames(self, fps: int) -> Int[np.ndarray, " steps"]:
        """Return how many frames before the segment each step lies, oldest first.

        Args:
            fps: Annotation rate.
        """
        gap, step = (Fraction(str(time)) for time in (self.anticipation_time, self.step_time))
        back = range(self.num_steps - 1, -1, -1)
        return np.array([math.ceil(fps * (gap + steps * step)) for steps in back])

    def drift_frames(self, fps: int) -> int:
        """Return how many frames a drifting step may move into the past, itself not included.

        Args:
            fps: Annotation rate.
        """
        return int(fps * Fraction(str(self.step_time)))


def has_past(
    starts: Int[np.ndarray, " rows"], lead_frames: Int[np.ndarray, " steps"]
) -> Bool[np.ndarray, " rows"]:
    """Return whether the newest step of each clip lies in the video.

    Args:
        starts: First frame of each segment.
        lead_frames: Frames from each step to the segment.
    """
    return starts - lead_frames[-1] >= 1


def clip_frames(
    starts: Int[np.ndarray, " rows"], lead_frames: Int[np.ndarray, " steps"]
) -> Int[np.ndarray, "rows steps"]:
    """Return the frame of each step; steps before the video repeat the oldest one within it.

    A clip all of whose steps lie before the video is BEFORE_VIDEO throughout: even frame 1 comes
    too late for it.

    Args:
        starts: First frame of each segment.
        lead_frames: Frames from each step to the segment.
    """
    frames = starts[:, None] - lead_frames
    oldest = np.where(frames < 1, np.iinfo(frames.dtype).max, frames).min(axis=1, keepdims=True)
    oldest[~has_past(starts, lead_frames)] = BEFORE_VIDEO
    return np.where(frames < 1, oldest, frames)


def step_labels(
    rows: SegmentTable, frames: Int[np.ndarray, "rows steps"], overlap: Overlap
) -> Int[np.ndarray, "rows steps"]:
    """Return what each step has to predict: what the next step shows, at last the segment itself.

    Args:
        rows: All segments of one part, of which each has a clip.
        frames: Frame of each step, without drift.
        overlap: Which segment names a frame that several cover.

    Returns:
        Actions; PAD_LABEL where the next step shows none or the annotation is withheld.
    """
    shown = np.full(frames.shape, UNKNOWN, np.int32)
    for own in rows.by_video().values():
        segments = rows.take(own)
        shown[own] = frame_labels(segments, int(segments.stops.max()), overlap)[frames[own]]
    labels = np.concatenate([shown[:, 1:], rows.actions[:, None]], axis=1)
    labels[labels == UNKNOWN] = PAD_LABEL
    return labels


def drifted(
    frames: Int[np.ndarray, " steps"], segment_id: str, epoch: int, seed: int, max_drift: int
) -> Int[np.ndarray, " steps"]:
    """Move each step except the oldest, and its repetitions, a random time into the past.

    The draw depends on the arguments alone, so workers, order and resuming do not change it. The
    law is that of AGA's released code, uniform over the frames of one step time.

    Args:
        frames: Frame of each step.
        segment_id: Segment of the clip.
        epoch: Number of finished epochs.
        seed: Seed of the run.
        max_drift: Frames from one step to the next; a step moves by less.
    """
    generator = np.random.default_rng((seed, epoch, zlib.crc32(segment_id.encode())))
    moved = frames - generator.integers(0, max(max_drift, 1), len(frames))
    return np.where(frames == frames[0], frames, moved.clip(1))
