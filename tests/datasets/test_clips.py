import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anticipate.datasets.batches.clips import StepGrid, clip_frames, drifted, has_past, step_labels
from anticipate.types import PAD_LABEL

AGA = StepGrid(30, 1.0, 1.0)
SEGMENTS = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.integers(1, 200), st.integers(0, 80), st.integers(0, 4)
    ).map(lambda row: (row[0], row[1], row[1] + row[2], row[3])),
    min_size=1,
    max_size=12,
)


def reference_frames(start, grid):
    """Spec of AGA's released loader: list the steps, replace those before the video."""
    frames = [
        start - math.ceil(30 * (grid.anticipation_time + k * grid.step_time))
        for k in range(grid.num_steps - 1, -1, -1)
    ]
    positive = [frame for frame in frames if frame > 0]
    return [frame if frame > 0 else min(positive, default=0) for frame in frames]


def reference_labels(rows, frames, overlap):
    """Look every frame up in every segment."""

    def label(video, frame):
        covering = [
            (abs(frame - (stop - start) / 2) if overlap == "avt" else start, i)
            for i, (v, start, stop, _) in enumerate(rows)
            if v == video and start <= frame <= stop
        ]
        if not covering:
            return PAD_LABEL
        _, chosen = max(covering) if overlap == "latest" else min(covering)
        return rows[chosen][3]

    return [
        [label(row[0], frame) for frame in own] + [row[3]]
        for row, own in zip(rows, frames.tolist(), strict=True)
    ]


def test_the_default_grid_is_that_of_the_released_code():
    np.testing.assert_array_equal(AGA.lead_frames(30), [30 * k for k in range(30, 0, -1)])
    assert AGA.drift_frames(30) == 30


@pytest.mark.parametrize(
    ("gap", "step", "lead"),
    [(0.5, 1.0, [45, 15]), (1.0, 0.25, [38, 30]), (0.1, 0.1, [6, 3]), (0.7, 0.1, [24, 21])],
)
def test_leads_are_rounded_up_from_exact_times(gap, step, lead):
    """30 * (0.1 + 0.1) is 6.000000000000001 in floating point, whose ceiling would be 7."""
    np.testing.assert_array_equal(StepGrid(2, step, gap).lead_frames(30), lead)


@settings(max_examples=60, deadline=None)
@given(
    starts=st.lists(st.integers(1, 1500), min_size=1, max_size=8),
    num_steps=st.integers(1, 12),
    step=st.sampled_from([0.25, 0.5, 1.0, 2.0]),
    gap=st.sampled_from([0.25, 0.5, 1.0, 1.5]),
)
def test_clips_are_those_of_the_reference(starts, num_steps, step, gap):
    grid = StepGrid(num_steps, step, gap)
    lead = grid.lead_frames(30)
    frames = clip_frames(np.array(starts), lead)
    np.testing.assert_array_equal(frames, [reference_frames(start, grid) for start in starts])
    np.testing.assert_array_equal(has_past(np.array(starts), lead), frames[:, -1] > 0)
    assert (np.diff(frames, axis=1) >= 0).all()


def test_a_clip_sees_something_from_frame_31_on():
    np.testing.assert_array_equal(
        has_past(np.array([1, 30, 31]), AGA.lead_frames(30)), [False, False, True]
    )


@settings(max_examples=60, deadline=None)
@given(rows=SEGMENTS, overlap=st.sampled_from(["latest", "earliest", "avt"]))
@example(rows=[("a", 41, 41, 0), ("a", 41, 41, 1), ("a", 56, 56, 0)], overlap="earliest")
@example(rows=[("a", 41, 41, 0), ("a", 41, 41, 1), ("a", 56, 56, 0)], overlap="latest")
def test_labels_are_what_the_steps_show_and_then_the_segment(segments, rows, overlap):
    table = segments(rows)
    frames = clip_frames(table.starts, StepGrid(4, 0.5, 0.5).lead_frames(30))
    labels = step_labels(table, frames, overlap)
    np.testing.assert_array_equal(labels, reference_labels(rows, frames, overlap))


def test_withheld_annotation_has_no_labels(segments):
    table = segments([("a", 90, 120, -1), ("a", 150, 180, -1)])
    frames = clip_frames(table.starts, AGA.lead_frames(30))
    assert (step_labels(table, frames, "latest") == PAD_LABEL).all()


@settings(max_examples=60, deadline=None)
@given(start=st.integers(1, 1200), epoch=st.integers(0, 3), seed=st.integers(0, 3))
def test_drift_moves_into_the_past_by_less_than_a_step(start, epoch, seed):
    frames = clip_frames(np.array([start]), AGA.lead_frames(30))[0]
    moved = drifted(frames, "P01_01_1", epoch, seed, 30)
    np.testing.assert_array_equal(moved, drifted(frames, "P01_01_1", epoch, seed, 30))
    assert (moved <= frames).all()
    assert (moved > frames - 30).all()
    still = frames == frames[0]
    np.testing.assert_array_equal(moved[still], frames[still])
    assert (moved[~still] >= 1).all()


def test_drift_is_uniform_over_the_frames_of_a_step():
    frames = clip_frames(np.array([2000]), AGA.lead_frames(30))[0]
    shifts = np.stack([frames - drifted(frames, f"s{i}", 0, 0, 30) for i in range(400)])[:, 1:]
    counts = np.bincount(shifts.ravel(), minlength=30)
    assert len(counts) == 30
    assert counts.min() > 0.8 * counts.mean()
    assert counts.max() < 1.2 * counts.mean()


@pytest.mark.parametrize("other", [("s", 1, 0), ("s", 0, 1), ("t", 0, 0)])
def test_segment_epoch_and_seed_change_the_drift(other):
    frames = clip_frames(np.array([2000]), AGA.lead_frames(30))[0]
    assert (drifted(frames, "s", 0, 0, 30) != drifted(frames, *other, 30)).any()
