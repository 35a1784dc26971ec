from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.datasets.file.short_term_file import count_rows, frames_of_rows, rows_of_frames

RATES = st.fractions(min_value=Fraction(1, 3), max_value=30, max_denominator=1000)


def reference_row(frame, fps, stored_fps):
    """The last row j whose frame 1 + floor(j f / R) is at most `frame`, by counting up."""
    row = -1
    while 1 + (row + 1) * fps / stored_fps // 1 <= frame:
        row += 1
    return row


@settings(max_examples=50, deadline=None)
@given(rate=RATES, frame=st.integers(1, 400))
def test_a_frame_reads_the_last_row_at_or_before_it(rate, frame):
    row = int(rows_of_frames(np.array([frame]), 30, rate)[0])
    assert row == reference_row(frame, 30, rate)
    stored = frames_of_rows(row + 2, 30, rate)
    assert stored[row] <= frame < stored[row + 1]


@settings(max_examples=50, deadline=None)
@given(rate=RATES, num_frames=st.integers(1, 400))
def test_a_video_has_the_rows_whose_frames_it_has(rate, num_frames):
    num_rows = count_rows(num_frames, 30, rate)
    frames = frames_of_rows(num_rows + 1, 30, rate)
    assert frames[-2] <= num_frames < frames[-1]


def test_thirty_rows_per_second_are_the_frames_themselves():
    frames = np.arange(1, 100)
    np.testing.assert_array_equal(rows_of_frames(frames, 30, Fraction(30)), frames - 1)
    np.testing.assert_array_equal(frames_of_rows(99, 30, Fraction(30)), frames)


@pytest.mark.parametrize(
    ("rate", "frames"), [("4", [1, 8, 16, 23, 31, 38]), ("7.5", [1, 5, 9, 13, 17, 21])]
)
def test_rows_lie_at_the_frame_before_their_moment(rate, frames):
    np.testing.assert_array_equal(frames_of_rows(6, 30, Fraction(rate)), frames)


def test_frames_before_the_video_have_no_row():
    assert (rows_of_frames(np.array([0, -1, -50]), 30, Fraction(4)) < 0).all()
