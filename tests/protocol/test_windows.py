"""The truncation rules of the protocol, at the lengths where they matter."""

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate import horizons as windows
from anticipate.horizons import evaluation_window, ratio_name


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(windows).failed == 0


@pytest.mark.parametrize(
    ("num_frames", "obs_ratio", "pred_ratio", "window"),
    [
        (1000, 0.2, 0.1, (200, 300)),
        (90, 0.2, 0.5, (18, 62)),  # 0.7 * 90 = 62.99999999999999
        (10, 0.7, 0.1, (7, 7)),  # 0.7 + 0.1 = 0.7999999999999999: an empty window
        (10, 0.1, 0.2, (1, 3)),  # 0.1 + 0.2 = 0.30000000000000004
        (4, 0.2, 0.1, (0, 1)),
        (3, 0.2, 0.1, (0, 0)),
        (10, 0.7, 0.5, (7, 10)),  # never beyond the video
    ],
)
def test_known_windows(num_frames, obs_ratio, pred_ratio, window):
    assert evaluation_window(num_frames, obs_ratio, pred_ratio) == window


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 60_000), st.sampled_from([0.2, 0.3]))
def test_horizons_are_nested_prefixes_inside_the_video(num_frames, obs_ratio):
    ends = []
    for pred_ratio in (0.1, 0.2, 0.3, 0.5):
        past, end = evaluation_window(num_frames, obs_ratio, pred_ratio)
        assert past == int(obs_ratio * num_frames)
        ends.append(end)
    assert ends == sorted(ends)
    assert 0 <= past <= ends[0]
    assert ends[-1] <= num_frames


@settings(max_examples=50, deadline=None)
@given(st.floats(0.001, 0.999))
def test_a_written_ratio_reads_back_equal(ratio):
    assert float(ratio_name(ratio)) == ratio
