"""The frequency prior and the repeated action, against loops over rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.protocol.short_term_baselines import NONE, FrequencyPrior, RepeatLast, last_started

COUNTS = (5, 0, 20, 20, 3)


def probabilities(logits):
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def reference_last_started(videos, starts, actions, gap):
    """Look through all rows for every row."""
    last = []
    for video, start in zip(videos, starts, strict=True):
        begun = [
            (other_start, row)
            for row, (other, other_start) in enumerate(zip(videos, starts, strict=True))
            if other == video and other_start <= start - gap
        ]
        last.append(actions[max(begun)[1]] if begun else NONE)
    return last


def test_the_prior_is_the_share_of_training_rows():
    probs = probabilities(FrequencyPrior(COUNTS).forecast(3))
    assert probs.shape == (3, 5)
    np.testing.assert_allclose(probs, np.tile(np.array(COUNTS) / 48, (3, 1)), atol=1e-7)
    assert np.isfinite(FrequencyPrior(COUNTS).forecast(1)).all()


def test_the_last_action_comes_first_and_the_prior_orders_the_rest():
    logits = RepeatLast(COUNTS).forecast(np.array([1, NONE, 4]))
    prior = FrequencyPrior(COUNTS).forecast(3)
    np.testing.assert_array_equal(logits.argmax(1)[[0, 2]], [1, 4])
    np.testing.assert_array_equal(logits[1], prior[1])
    for row, action in ((0, 1), (2, 4)):
        assert probabilities(logits)[row, action] >= 0.5
        others = np.arange(5) != action
        np.testing.assert_array_equal(logits[row, others], prior[row, others])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 16), num_rows=st.integers(1, 25), gap=st.integers(1, 12))
def test_the_last_action_is_that_of_a_search_through_all_rows(seed, num_rows, gap):
    random = np.random.default_rng(seed)
    videos = random.choice(["P02_1", "P01_10", "P01_2"], size=num_rows).tolist()
    starts, actions = random.integers(1, 30, num_rows), random.integers(0, 9, num_rows)
    found = last_started(videos, starts, actions, gap)
    assert found.tolist() == reference_last_started(videos, starts, actions, gap)


@pytest.mark.parametrize(("gap", "expected"), [(30, [NONE, 7, 8]), (31, [NONE, NONE, 7])])
def test_an_action_counts_from_the_frame_on_at_which_it_begins(gap, expected):
    starts, actions = np.array([1, 31, 61]), np.array([7, 8, 9])
    assert last_started(["a"] * 3, starts, actions, gap).tolist() == expected
