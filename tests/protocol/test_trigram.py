"""The tri-gram baseline on transcripts small enough to count by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.errors import DataError
from anticipate.protocol.dense_baselines import START, TriGram
from anticipate.segments import Segments

A, B, C, D = range(4)
NUM_CLASSES = 4
END = NUM_CLASSES


def transcript(*actions, length=10):
    return Segments(np.array(actions), np.full(len(actions), length))


def forecast(model, observed, num_frames, num_samples=1, seed=0):
    return model.forecast(np.array(observed), num_frames, num_samples, np.random.default_rng(seed))


def runs(frames):
    segments = Segments.from_frames(frames)
    return list(zip(segments.labels.tolist(), segments.lengths.tolist(), strict=True))


def counts(model, *history):
    return np.diff(model.cumulative_counts[history], prepend=0).tolist()


def test_counts_of_every_history_length():
    model = TriGram.fit([transcript(A, B, C), transcript(A, B), transcript(C, B)], NUM_CLASSES)
    assert counts(model, START, START) == [2, 0, 1, 0, 0]
    assert counts(model, START, A) == [0, 2, 0, 0, 0]
    assert counts(model, A, B) == [0, 0, 1, 0, 1]
    assert counts(model, B) == [0, 0, 1, 0, 2]  # A B C, A B end, C B end
    assert counts(model) == [2, 3, 2, 0, 3]


def test_lengths_are_gaussian_per_class_and_of_all_segments_where_a_class_is_unseen():
    segments = Segments(np.array([A, B, A]), np.array([10, 40, 30]))
    model = TriGram.fit([segments], NUM_CLASSES)
    overall_mean, overall_std = np.mean([10, 40, 30]), np.std([10, 40, 30])
    np.testing.assert_allclose(model.mean_lengths, [20, 40, overall_mean, overall_mean])
    np.testing.assert_allclose(model.std_lengths, [10, 0, overall_std, overall_std])


def test_a_deterministic_grammar_continues_deterministically():
    model = TriGram.fit([transcript(A, B, C, length=10)], NUM_CLASSES)
    preds = forecast(model, [A] * 10 + [B] * 4, num_frames=60, num_samples=3)
    # B lasts 10 frames of which 4 are seen; after C comes the end, and C goes on.
    assert [runs(sample) for sample in preds] == [[(A, 10), (B, 10), (C, 40)]] * 3


def test_an_action_longer_than_its_sampled_length_ends_at_once():
    model = TriGram.fit([transcript(A, B, length=10)], NUM_CLASSES)
    assert runs(forecast(model, [A] * 25, 40)[0]) == [(A, 25), (B, 15)]


def test_the_last_two_actions_decide():
    grammar = [transcript(A, B, C), transcript(D, B, A)]
    model = TriGram.fit(grammar, NUM_CLASSES)
    for first, third in ((A, C), (D, A)):
        preds = forecast(model, [first] * 10 + [B], num_frames=30, num_samples=5)
        assert {tuple(runs(sample)) for sample in preds} == {((first, 10), (B, 10), (third, 10))}


def test_an_unseen_pair_backs_off_to_the_last_action():
    model = TriGram.fit([transcript(A, B, C), transcript(D, A)], NUM_CLASSES)
    # D then B never happens; B alone is followed by C.
    assert runs(forecast(model, [D] * 10 + [B], 30)[0]) == [(D, 10), (B, 10), (C, 10)]


def test_an_unseen_action_backs_off_to_all_actions():
    model = TriGram.fit([transcript(A, B), transcript(A)], NUM_CLASSES)  # 2 A, 1 B, 2 ends
    preds = forecast(model, [D] * 9, num_frames=12, num_samples=2000)
    # D's sampled length follows all segments (10): one more frame, then the drawn action.
    drawn = preds[:, 10]
    shares = [np.mean(drawn == action) for action in (A, B, D)]
    np.testing.assert_allclose(shares, [0.4, 0.2, 0.4], atol=0.05)  # D: the end holds it


def test_next_actions_are_drawn_by_their_counts():
    model = TriGram.fit([transcript(A, B)] * 3 + [transcript(A, C)], NUM_CLASSES)
    drawn = forecast(model, [A] * 10, num_frames=11, num_samples=4000)[:, -1]
    assert np.mean(drawn == B) == pytest.approx(0.75, abs=0.03)
    assert set(drawn.tolist()) == {B, C}


def test_sampled_lengths_have_the_mean_and_spread_of_training():
    lengths = np.array([60, 100, 140])
    grammar = [Segments(np.array([A, B, C]), np.array([10, n, 10])) for n in lengths]
    preds = forecast(TriGram.fit(grammar, NUM_CLASSES), [A] * 10, 600, num_samples=4000)
    sampled = (preds == B).sum(1)
    assert sampled.mean() == pytest.approx(lengths.mean(), abs=3)
    assert sampled.std() == pytest.approx(lengths.std(), abs=3)


def test_a_later_action_lasts_at_least_one_frame():
    grammar = [
        Segments(np.array([A, B, C]), np.array([10, n, 10])) for n in (1, 1, 1, 1, 1, 1, 1, 41)
    ]
    model = TriGram.fit(grammar, NUM_CLASSES)
    assert model.mean_lengths[B] < model.std_lengths[B]  # many draws are negative
    preds = forecast(model, [A] * 10, 200, num_samples=500)
    assert (preds == B).sum(1).min() == 1


def test_a_seed_repeats_and_another_one_differs():
    random = np.random.default_rng(0)
    grammar = [
        Segments(random.permutation(NUM_CLASSES), random.integers(5, 50, NUM_CLASSES))
        for _ in range(20)
    ]
    model = TriGram.fit(grammar, NUM_CLASSES)
    first, again, other = (forecast(model, [A] * 9, 200, 25, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(range(4)), min_size=1, max_size=6), min_size=1, max_size=5),
    st.lists(st.sampled_from(range(4)), min_size=1, max_size=30),
    st.integers(1, 80),
)
def test_every_forecast_starts_with_the_observation_and_is_filled(grammar, observed, num_frames):
    model = TriGram.fit([Segments.from_frames(np.array(labels)) for labels in grammar], NUM_CLASSES)
    preds = forecast(model, observed, num_frames, num_samples=3)
    assert preds.shape == (3, num_frames)
    assert (preds[:, : len(observed)] == np.array(observed)[:num_frames]).all()
    known = {*observed, *(action for labels in grammar for action in labels)}
    assert set(preds.flatten().tolist()) <= known


def test_the_type_of_the_labels_is_kept():
    model = TriGram.fit([transcript(A, B)], NUM_CLASSES)
    preds = model.forecast(np.array([A, A], np.int16), 5, 2, np.random.default_rng(0))
    assert preds.dtype == np.int16


@pytest.mark.parametrize("transcripts", [[], [Segments(np.array([], int), np.array([], int))]])
def test_nothing_to_learn_from_is_an_error(transcripts):
    with pytest.raises(DataError, match="at least one training segment"):
        TriGram.fit(transcripts, NUM_CLASSES)


def test_an_empty_observation_is_an_error():
    model = TriGram.fit([transcript(A, B)], NUM_CLASSES)
    with pytest.raises(DataError, match="at least one observed frame"):
        model.forecast(np.array([], np.int16), 5, 2, np.random.default_rng(0))
