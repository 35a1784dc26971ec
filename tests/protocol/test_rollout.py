"""The roll-out of segments, by functions whose answers are written down."""

import numpy as np
import pytest

from anticipate.protocol.rollout import MOST_SEGMENTS, observed_segments, roll_out

A, B, C = range(3)


def script(*answers):
    """A next action and a length that tell these pairs, and the calls that they get."""
    calls, pairs = [], iter(answers)
    lengths = []

    def next_action(actions, before):
        calls.append((list(actions), list(before)))
        following = next(pairs, None)
        if following is None:
            return None
        lengths[:] = following[1]
        return following[0]

    return next_action, lambda _: list(lengths), calls


def test_samples_have_their_own_actions_and_lengths():
    observed = observed_segments(np.array([C, A, A], np.int16))
    next_action, length, calls = script(([B, C], [3.9, 9.0]), ([C, A], [1.0, 1.0]))
    preds = roll_out(observed, [4.5, 0.0], 10, next_action, length)
    assert preds.dtype == np.int16
    # A was seen for 2 frames: it has 2.5 left in one sample and is over in the other.
    assert preds.tolist() == [[C, A, A, A, A, B, B, B, C, C], [C, A, A, *[C] * 7]]
    # Whole lengths, of what is seen and what is left, fractions kept.
    assert calls[:2] == [([A, A], [4.5, 2.0]), ([B, C], [3.9, 9.0])]


def test_without_a_next_action_the_current_one_goes_on():
    next_action, length, _ = script()
    preds = roll_out(observed_segments(np.array([A])), [3.0], 6, next_action, length)
    assert preds.tolist() == [[A] * 6]


@pytest.mark.parametrize("drawn", [0.0, 0.99, -5.0])
def test_lengths_below_a_frame_are_a_frame_and_segments_are_limited(drawn):
    def next_action(actions, lengths):
        return [1 - actions[0]]

    num_frames = MOST_SEGMENTS + 50
    preds = roll_out(
        observed_segments(np.array([A])), [1.0], num_frames, next_action, lambda _: [drawn]
    )
    # The current action ends with the observation: 198 changes in between, then the last goes on.
    assert preds[0, :MOST_SEGMENTS].tolist() == [A, B] * (MOST_SEGMENTS // 2)
    assert set(preds[0, MOST_SEGMENTS:].tolist()) == {B}


def test_a_longer_forecast_begins_like_a_shorter_one():
    generator = np.random.default_rng(0)
    actions, lengths = generator.integers(3, size=(40, 2)), generator.uniform(0, 9, (40, 2))
    answers = list(zip(actions.tolist(), lengths.tolist(), strict=True))
    observed = observed_segments(np.array([A, A, B]))
    whole = roll_out(observed, [2.0, 7.0], 60, *script(*answers)[:2])
    for num_frames in (1, 3, 4, 20):
        preds = roll_out(observed, [2.0, 7.0], num_frames, *script(*answers)[:2])
        np.testing.assert_array_equal(preds, whole[:, :num_frames])
