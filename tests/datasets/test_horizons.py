import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.errors import ConfigError
from anticipate.horizons import (
    FUTURE_RATIO,
    check_ratios,
    num_tokens,
    observed_frames,
    target_frames,
)

RATIOS = st.floats(0.01, 0.99)
FRAMES = st.integers(1, 100_000)


@pytest.mark.parametrize(
    ("num_frames", "obs_ratio", "observed", "target"),
    [
        (130, 0.2, 26, 91),  # the shortest video of Breakfast
        (9741, 0.3, 2922, 7792),  # the longest
        (10, 0.3, 3, 8),
        (100, 0.29, 28, 79),  # 0.29 * 100 is 28.999999999999996 in floating point
        (90, 0.2, 18, 62),  # (0.2 + 0.5) * 90 is 62.99999999999999
        (100, 0.5, 50, 100),
        (100, 0.8, 80, 100),  # nothing beyond the end of the video
    ],
)
def test_counts_are_truncated_floating_point_products(num_frames, obs_ratio, observed, target):
    assert observed_frames(num_frames, obs_ratio) == observed
    assert target_frames(num_frames, obs_ratio) == target


def test_ratios_are_added_before_they_are_multiplied():
    assert int(0.2 * 90 + FUTURE_RATIO * 90) == 63
    assert target_frames(90, 0.2) == 62


@given(FRAMES, RATIOS)
@settings(max_examples=200, deadline=None)
def test_observed_and_target_frames_are_nested_in_the_video(num_frames, obs_ratio):
    observed, target = observed_frames(num_frames, obs_ratio), target_frames(num_frames, obs_ratio)
    assert 0 <= observed <= target <= num_frames
    assert target == min(int((obs_ratio + 0.5) * num_frames), num_frames)


@given(st.integers(0, 500), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_tokens_are_the_sampled_frames(num_frames, sample_rate):
    assert num_tokens(num_frames, sample_rate) == len(range(0, num_frames, sample_rate))


@pytest.mark.parametrize(
    ("ratios", "limit", "message"),
    [
        ((0.2, 1.0), 1.0, r"obs_ratios has 1.0: expected shares of the video in \(0, 1\)"),
        ((0.0,), 1.0, r"obs_ratios has 0.0"),
        ((-0.1,), 1.0, r"obs_ratios has -0.1"),
        ((20.0,), 1.0, r"obs_ratios has 20.0"),
        ((float("nan"),), 1.0, r"obs_ratios has nan"),
        ((0.6,), 0.5, r"obs_ratios has 0.6: expected shares of the video in \(0, 0.5\]"),
        ((), 1.0, r"obs_ratios is \[\]: expected one or more different ratios"),
        ((0.2, 0.2), 1.0, r"obs_ratios is \[0.2, 0.2\]"),
    ],
)
def test_ratios_that_mean_nothing_are_refused(ratios, limit, message):
    with pytest.raises(ConfigError, match=message):
        check_ratios("obs_ratios", ratios, limit)


def test_the_ratios_of_the_protocol_are_accepted():
    check_ratios("obs_ratios", (0.2, 0.3))
    check_ratios("pred_ratios", (0.1, 0.2, 0.3, 0.5), FUTURE_RATIO)
