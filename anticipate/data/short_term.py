"""Items of short-term anticipation, one annotated segment each, and batches of them."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from anticipate.data.buckets import Draw
from anticipate.data.clips import StepGrid, clip_frames, drifted, step_labels
from anticipate.data.frame_labels import Overlap
from anticipate.data.segment_table import SegmentTable
from anticipate.data.short_term_store import ShortTermStore
from anticipate.types import ShortTermBatch


class ClipItem(NamedTuple):
    """One row of a `ShortTermBatch`."""

    features: Float[np.ndarray, "steps feature"]
    step_targets: Int[np.ndarray, " steps"]
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
        self.step_targets = step_labels(segments, frames, overlap)[chosen]
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
            step_targets=self.step_targets[item],
            frames=frames,
            segment_id=segment_id,
            video_id=video_id,
        )


def collate_short_term(items: list[ClipItem]) -> ShortTermBatch:
    """Make one batch of some clips.

    Args:
        items: Rows of the batch.
    """
    step_targets = _stack([item.step_targets for item in items]).long()
    return ShortTermBatch(
        features=_stack([item.features for item in items]),
        step_targets=step_targets,
        targets=step_targets[:, -1],
        frames=_stack([item.frames for item in items]).long(),
        segment_ids=tuple(item.segment_id for item in items),
        video_ids=tuple(item.video_id for item in items),
    )


def _stack(arrays: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
