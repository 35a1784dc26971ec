"""Run-length coding: hand-computed, reversible, independent of the integer type."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.segments import Segments


def test_runs_of_a_known_sequence():
    segments = Segments.from_frames(np.array([4, 4, 0, 4, 4, 4], np.int16))
    assert segments.labels.tolist() == [4, 0, 4]
    assert segments.lengths.tolist() == [2, 1, 3]
    assert segments.starts.tolist() == [0, 2, 3]


def test_no_frames_give_no_segments():
    segments = Segments.from_frames(np.array([], np.int16))
    assert len(segments.labels) == len(segments.lengths) == len(segments.starts) == 0
    assert segments.to_frames().shape == (0,)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_the_largest_label_of_a_type_is_one_run(dtype):
    largest = np.iinfo(dtype).max
    segments = Segments.from_frames(np.array([largest, largest, 0], dtype))
    assert segments.labels.tolist() == [largest, 0]
    assert segments.labels.dtype == dtype


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=60))
def test_frames_survive_the_round_trip_and_neighbours_differ(frame_labels):
    frames = np.array(frame_labels, np.int16)
    segments = Segments.from_frames(frames)
    np.testing.assert_array_equal(segments.to_frames(), frames)
    assert np.all(segments.labels[1:] != segments.labels[:-1])
    assert np.all(segments.lengths > 0)
