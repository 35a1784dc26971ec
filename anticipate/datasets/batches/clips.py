"""Clips of short-term anticipation: which frames they read, what each step has to predict, batches.

Step k of S lies (S - 1 - k) step times before the newest one, and the newest one lies the
anticipation time before the segment starts; frame numbers are rounded towards the past, as in
frame = start - ceil(fps (anticipation_time + steps_back step_time)) of AGA's released code. Frames
count from 1; number 0 is a moment before the video, which has no frame.
"""

import math
import zlib
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int32
from torch import Tensor
from torch.utils.data import Dataset

from anticipate.datasets.batches.buckets import Draw
from anticipate.datasets.file.segment_table import UNKNOWN, SegmentTable
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.errors import ConfigError
from anticipate.types import PAD_LABEL, ShortTermBatch

Overlap = Literal["latest", "earliest", "avt"]
"""Which segment names a frame that several cover: the one that starts latest, or earliest, or as in
the public code of AVT the one half of whose length, in frames, is next to the frame's number (which
was meant to be the one whose middle is next)."""


def frame_labels(
    segments: SegmentTable, num_frames: int, overlap: Overlap = "latest"
) -> Int32[np.ndarray, " numbers"]:
    """Return the action of each frame of one video; position n is frame n, position 0 no frame.

    Of segments that start together the first one in the release counts as the earliest, the last
    one as the latest; of equal distances (`avt`) the first one counts.

    Args:
        segments: All segments of the video.
        num_frames: Last frame wanted; segments may go on beyond it.
        overlap: Which segment names a frame that several cover.
    """
    labels = np.full(num_frames + 1, UNKNOWN, np.int32)
    nearest = np.full(num_frames + 1, np.inf)
    for row in _naming_order(segments, overlap):
        start, stop = segments.starts[row], segments.stops[row]
        named = np.arange(start, min(stop, num_frames) + 1)
        if overlap == "avt":
            distances = abs(named - (stop - start) / 2)
            nearer = distances < nearest[named]
            named = named[nearer]
            nearest[named] = distances[nearer]
        labels[named] = segments.actions[row]
    return labels


def _naming_order(segments: SegmentTable, overlap: Overlap) -> Int[np.ndarray, " rows"]:
    """Return the rows, those first whose labels later ones may replace."""
    if overlap == "avt":
        return np.arange(segments.num_rows)
    order = np.argsort(segments.starts, kind="stable")
    return order if overlap == "latest" else order[::-1]


ShortPast = Literal["drop", "pad"]
"""What becomes of a segment that starts before anything may be seen: left out, or given zeros."""

ScoredClips = Literal["strict", "released"]
"""Whether scored clips end the anticipation time before their segment, or go on as in training."""

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

    @property
    def steps_to_action(self) -> Fraction:
        """Step times from the newest step to the start of the segment."""
        return Fraction(str(self.anticipation_time)) / Fraction(str(self.step_time))

    def until(self, time: float) -> "StepGrid":
        """Return a grid that begins with this one and goes on until so many seconds before.

        Args:
            time: Seconds from its newest step to the start of the segment.

        Raises:
            ConfigError: That is not whole steps later.
        """
        longer = StepGrid(self.num_steps, self.step_time, time)
        more = self.steps_to_action - longer.steps_to_action
        if time <= 0 or more < 0 or more.denominator > 1:
            raise ConfigError(
                f"train_until is {time}: expected the anticipation time {self.anticipation_time} "
                f"less whole steps of {self.step_time} s, and more than 0"
            )
        return longer._replace(num_steps=self.num_steps + int(more))

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
) -> Int[np.ndarray, "rows steps_and_segment"]:
    """Return what each step shows, and then the segment itself.

    From the second on they are what the steps have to predict.

    Args:
        rows: All segments of one part, of which each has a clip.
        frames: Frame of each step, without drift.
        overlap: Which segment names a frame that several cover.

    Returns:
        Actions; PAD_LABEL where a step shows none or the annotation is withheld.
    """
    shown = np.full(frames.shape, UNKNOWN, np.int32)
    for own in rows.by_video().values():
        segments = rows.take(own)
        shown[own] = frame_labels(segments, int(segments.stops.max()), overlap)[frames[own]]
    labels = np.concatenate([shown, rows.actions[:, None]], axis=1)
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


class ClipItem(NamedTuple):
    """One row of a `ShortTermBatch`."""

    features: Float[np.ndarray, "steps feature"]
    labels: Int[np.ndarray, " steps_and_segment"]
    frames: Int[np.ndarray, " steps"]
    segment_id: str
    video_id: str


class ShortTermDataset(Dataset[ClipItem]):
    """The clips before some segments of one part; item i is the clip of the i-th chosen segment.

    Args:
        store: Data file.
        segments: All segments of the part; they also label the steps.
        chosen: Positions of the segments whose clips are items.
        grid: Moments at which a clip looks.
        overlap: Which segment names a frame that several cover.
        drift_seed: Seed of the training-time drift; None keeps the steps where they are.
    """

    def __init__(
        self,
        store: ShortTermStore,
        segments: SegmentTable,
        chosen: Int[np.ndarray, " items"],
        grid: StepGrid,
        overlap: Overlap = "latest",
        drift_seed: int | None = None,
    ) -> None:
        self.store = store
        self.drift_seed = drift_seed
        self.max_drift = grid.drift_frames(store.fps)
        frames = clip_frames(segments.starts, grid.lead_frames(store.fps))
        self.rows = segments.take(chosen)
        self.labels = step_labels(segments, frames, overlap)[chosen]
        self.frames = frames[chosen]

    def __len__(self) -> int:
        return self.rows.num_rows

    def __getitem__(self, draw: Draw) -> ClipItem:
        item, epoch = draw
        segment_id, video_id = self.rows.segment_ids[item], self.rows.video_ids[item]
        frames = self.frames[item]
        if self.drift_seed is not None:
            frames = drifted(frames, segment_id, epoch, self.drift_seed, self.max_drift)
        return ClipItem(
            features=self.store.features_at(video_id, frames),
            labels=self.labels[item],
            frames=frames,
            segment_id=segment_id,
            video_id=video_id,
        )


def collate_short_term(items: list[ClipItem]) -> ShortTermBatch:
    """Make one batch of some clips.

    Args:
        items: Rows of the batch.
    """
    labels = _stack([item.labels for item in items]).long()
    return ShortTermBatch(
        features=_stack([item.features for item in items]),
        step_targets=labels[:, 1:],
        targets=labels[:, -1],
        frames=_stack([item.frames for item in items]).long(),
        segment_ids=tuple(item.segment_id for item in items),
        video_ids=tuple(item.video_id for item in items),
        first_targets=labels[:, 0],
    )


def _stack(arrays: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
