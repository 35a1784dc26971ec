"""What baselines are told of the length of a video, and mistakes in observed labels."""

import numpy as np
import pytest

from anticipate.protocol.dense_baselines import TriGram
from anticipate.protocol.label_studies import (
    ACCURACIES,
    CONFUSED,
    RECOGNISED,
    TOLD,
    LabelledSplit,
    misread,
    score_known_length,
    score_recognition,
    told_length,
)
from anticipate.segments import Segments
from anticipate.types import NO_LABEL

A, B, C = range(3)
EQUAL = np.ones(3, np.int64)


def transcript(*pairs):
    labels, lengths = zip(*pairs, strict=True)
    return Segments(np.array(labels), np.array(lengths))


SHORT, LONG = transcript((A, 10), (B, 10)), transcript((A, 10), (C, 50))
MODEL = TriGram.fit([SHORT, LONG], 3)
"""After 10 frames of A either 10 of B or 50 of C, each with one length."""


@pytest.mark.parametrize(("frames", "follows"), [(20, B), (60, C)])
def test_who_knows_the_length_of_a_video_knows_what_it_shows(frames, follows):
    observed = np.full(4, A)
    futures = told_length(MODEL, observed, frames, 8, np.random.default_rng(0))
    assert futures.tolist() == [[A] * 10 + [follows] * (frames - 10)] * 8


def test_a_future_that_ends_too_early_goes_on():
    model = TriGram.fit([SHORT], 3)
    futures = told_length(model, np.full(4, A), 30, 2, np.random.default_rng(0))
    assert futures.tolist() == [[A] * 10 + [B] * 20] * 2


def test_frames_after_the_end_that_a_future_draws_have_no_label():
    model = TriGram.fit([SHORT], 3)
    preds = model.forecast(np.full(4, A), 25, 2, np.random.default_rng(0), NO_LABEL)
    assert preds.tolist() == [[A] * 10 + [B] * 10 + [NO_LABEL] * 5] * 2


LABELS = np.repeat(np.tile([A, B, C], 200), 3)


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 0.8, 1.0])
def test_mistakes_are_whole_segments_and_as_many_as_asked_for(accuracy):
    read = misread(LABELS, accuracy, EQUAL, np.random.default_rng(0))
    right = (read == LABELS).reshape(-1, 3)
    assert (right.all(1) | ~right.any(1)).all()
    assert right.mean() == pytest.approx(accuracy, abs=0.05)


def test_mistakes_at_a_lower_accuracy_contain_those_at_a_higher_one():
    low, high = (misread(LABELS, share, EQUAL, np.random.default_rng(0)) for share in (0.5, 0.8))
    mistaken = high != LABELS
    assert (low[mistaken] == high[mistaken]).all()


def test_a_segment_is_mistaken_for_classes_with_weight_alone():
    read = misread(LABELS, 0.0, np.array([0, 1, 3]), np.random.default_rng(0))
    assert set(read[LABELS == B]) == {C}
    assert set(read[LABELS == C]) == {B}
    taken_for_a = read[LABELS == A]
    assert (taken_for_a == C).mean() == pytest.approx(0.75, abs=0.1)
    nothing_else = misread(LABELS, 0.0, np.array([9, 0, 0]), np.random.default_rng(0))
    assert (nothing_else[LABELS == A] == A).all()


SPLIT = LabelledSplit(
    3,
    1.0,
    (SHORT, LONG),
    {"short": SHORT.to_frames(), "long": LONG.to_frames()},
    {confused: {"short": EQUAL, "long": EQUAL} for confused in CONFUSED},
)


def test_the_length_is_worth_most_where_it_decides_what_follows():
    scores = score_known_length(SPLIT, 0.15, num_samples=4, seed=0)
    nothing, goes_on, length = (scores[told] for told in TOLD)
    assert length["share"]["mean_moc"] == [100.0] * 4
    assert length["seconds"]["mean_moc"] == [100.0] * 5
    assert goes_on["share"]["mean_moc"][-1] < 100.0
    for unit in ("share", "seconds"):
        assert (np.array(nothing[unit]["mean_moc"]) <= goes_on[unit]["mean_moc"]).all()
        assert (np.array(goes_on[unit]["mean_moc"]) <= goes_on[unit]["top1_moc"]).all()


def test_recognised_observations_give_the_scores_of_the_annotation():
    scores = score_recognition(SPLIT, CONFUSED[0], 0.2, num_samples=4, seed=0)
    assert scores[RECOGNISED]["frames"][-1] == scores[RECOGNISED]["last_frames"][-1] == 100.0
    assert np.diff(scores[RECOGNISED]["frames"]).min() >= 0
    # Observed 4 and 12 frames; horizons of 0.1, 0.2 and 0.3 of a video end at 6, 8, 10 and 18, 24,
    # 30, that of 0.5 at 14 and 42.
    at_once = score_known_length(SPLIT, 0.2, num_samples=4, seed=0)[TOLD[1]]["share"]
    assert scores["tri-gram"]["mean_moc"][-1] == pytest.approx(np.mean(at_once["mean_moc"]))
    assert len(scores["last-label"]["mean_moc"]) == len(ACCURACIES)
