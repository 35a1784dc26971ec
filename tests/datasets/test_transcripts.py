"""Beginnings of transcripts, the training items of models that learn from labels alone."""

import numpy as np
import pytest

from anticipate.datasets.batches.buckets import Draw
from anticipate.datasets.batches.transcripts import TranscriptDataset, collate_transcripts
from anticipate.errors import DataError
from anticipate.segments import Segments
from anticipate.types import PAD_LABEL


def transcript(labels, lengths):
    return Segments(np.array(labels, np.int16), np.array(lengths))


def test_every_beginning_is_an_item_with_what_follows_it():
    data = TranscriptDataset([transcript([4, 2, 4], [10, 3, 7]), transcript([1], [5])])
    assert data.lengths.tolist() == [1, 2, 3, 1]
    batch = collate_transcripts([data[Draw(item, 0)] for item in range(len(data))])
    pad = PAD_LABEL
    assert batch.labels.tolist() == [[4, pad, pad], [4, 2, pad], [4, 2, 4], [1, pad, pad]]
    assert batch.lengths.tolist() == [[10, 0, 0], [10, 3, 0], [10, 3, 7], [5, 0, 0]]
    assert batch.num_segments.tolist() == [1, 2, 3, 1]
    assert batch.next_labels.tolist() == [2, 4, pad, pad]
    assert batch.num_frames.tolist() == [20, 20, 20, 5]


@pytest.mark.parametrize(
    ("transcripts", "message"),
    [
        (
            [transcript([1, 2], [4, 4]), transcript([1, 2], [4, 0])],
            "training transcript 2 has a segment of 0 frames: expected 1 or more",
        ),
        ([transcript([1], [4])] * 3, "3 training transcripts, none with two segments"),
        ([], "0 training transcripts"),
    ],
)
def test_transcripts_without_anything_to_learn_are_refused(transcripts, message):
    with pytest.raises(DataError, match=message):
        TranscriptDataset(transcripts)
