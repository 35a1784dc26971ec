"""Items of models that learn from labels alone: beginnings of training transcripts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from anticipate.datasets.batches.buckets import Draw
from anticipate.errors import DataError
from anticipate.segments import Segments
from anticipate.types import PAD_LABEL, TranscriptBatch


class Beginning(NamedTuple):
    """One row of a `TranscriptBatch`, before padding."""

    labels: Int[Tensor, " segments"]
    lengths: Int[Tensor, " segments"]
    next_label: int
    num_frames: int


class TranscriptDataset(Dataset[Beginning]):
    """Every beginning of every transcript, of one segment or more.

    Args:
        transcripts: Segments of whole videos, lengths in frames at the annotation rate.

    Raises:
        DataError: A segment without frames, or no transcript in which a segment follows another.
    """

    def __init__(self, transcripts: Sequence[Segments]) -> None:
        self.transcripts = transcripts
        self._ends = [
            (number, end)
            for number, transcript in enumerate(transcripts)
            for end in range(1, len(transcript.labels) + 1)
        ]
        for number, transcript in enumerate(transcripts, start=1):
            if not (transcript.lengths > 0).all():
                raise DataError(
                    f"training transcript {number} has a segment of {transcript.lengths.min()} "
                    "frames: expected 1 or more; take whole frames at the annotation rate"
                )
        if all(len(transcript.labels) < 2 for transcript in transcripts):
            raise DataError(
                f"{len(transcripts)} training transcripts, none with two segments: there is "
                "nothing to learn about what follows; use data whose videos show several actions"
            )

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def lengths(self) -> Int[np.ndarray, " items"]:
        """Segments of each item."""
        return np.array([end for _, end in self._ends])

    def __getitem__(self, draw: Draw) -> Beginning:
        number, end = self._ends[draw.item]
        labels, lengths = (torch.from_numpy(p.astype(np.int64)) for p in self.transcripts[number])
        following = int(labels[end]) if end < len(labels) else PAD_LABEL
        return Beginning(labels[:end], lengths[:end], following, int(lengths.sum()))


def collate_transcripts(items: list[Beginning]) -> TranscriptBatch:
    """Pad beginnings to the longest and make one batch of them.

    Args:
        items: Rows of the batch.
    """
    return TranscriptBatch(
        labels=pad_sequence([item.labels for item in items], True, PAD_LABEL),
        lengths=pad_sequence([item.lengths for item in items], batch_first=True),
        num_segments=torch.tensor([len(item.labels) for item in items]),
        next_labels=torch.tensor([item.next_label for item in items]),
        num_frames=torch.tensor([item.num_frames for item in items]),
    )
