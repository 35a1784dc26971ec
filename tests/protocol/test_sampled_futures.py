"""Measures of sampled futures against every subset, every vote and every sample by itself."""

import doctest
from itertools import combinations

import numpy as np
import pytest
import torch

from anticipate.horizons import evaluation_window
from anticipate.protocol import sampled_futures, score_futures, score_labels
from anticipate.protocol.dense_scores import PRED_RATIOS, DenseScores
from anticipate.protocol.moc import class_counts, find_runs, without_no_label
from anticipate.protocol.sampled_futures import (
    BestOfSubsets,
    Durations,
    Votes,
    count_votes,
    ranked_samples,
    subset_weights,
)
from anticipate.types import NO_LABEL

NUM_CLASSES, NUM_SAMPLES, SIZES = 3, 5, (1, 2, 3, 5)


def made_up(seed, num_frames=40, lowest=0):
    """Futures of runs of four frames, with ties: sample 3 equals sample 1."""
    random = np.random.default_rng(seed)
    labels = np.repeat(random.integers(NUM_CLASSES, size=num_frames // 4), 4)
    preds = random.integers(lowest, NUM_CLASSES, size=(NUM_SAMPLES, num_frames // 4))
    preds = np.where(preds < 0, NO_LABEL, preds).repeat(4, axis=1)
    preds[3] = preds[1]
    return preds, labels


def runs_of(preds, targets, *horizons):
    return without_no_label(find_runs(preds, targets, np.array(horizons)), NUM_CLASSES)


VIDEOS = [made_up(seed, lowest=-1) for seed in range(4)]


def scores(videos, obs_ratio=0.2):
    metric = DenseScores(NUM_CLASSES, obs_ratio)
    for preds, labels in videos:
        metric.update(torch.from_numpy(preds), torch.from_numpy(labels))
    document = metric.compute()
    return {name: list(document[name].values()) for name in ("mean_moc", "top1_moc")}


def best_of_subsets(videos, sizes, obs_ratio=0.2):
    best = BestOfSubsets(NUM_CLASSES, sizes)
    for preds, labels in videos:
        windows = [evaluation_window(len(labels), obs_ratio, ratio) for ratio in PRED_RATIOS]
        past, end = windows[-1]
        ends = [last - past for _, last in windows]
        best.update(runs_of(preds[:, past:end], labels[past:end], *ends), len(windows))
    return best.compute()


def test_one_sample_is_mean_moc_and_all_are_top1_moc():
    one, *_, every = best_of_subsets(VIDEOS, SIZES)
    reference = scores(VIDEOS)
    np.testing.assert_allclose(one, reference["mean_moc"], rtol=1e-12)
    np.testing.assert_allclose(every, reference["top1_moc"], rtol=1e-12)


@pytest.mark.parametrize("size", [2, 3])
def test_the_expectation_is_the_mean_over_every_subset(size):
    # How often a class occurs does not depend on the subset: the mean of scores is that of counts.
    preds, labels = VIDEOS[0]
    reference = np.mean(
        [
            scores([(preds[list(subset)], labels)])["top1_moc"]
            for subset in combinations(range(NUM_SAMPLES), size)
        ],
        axis=0,
    )
    np.testing.assert_allclose(best_of_subsets(VIDEOS[:1], (size,))[0], reference, rtol=1e-12)


def test_more_samples_are_never_worse_for_one_video():
    curve = best_of_subsets(VIDEOS[:1], range(1, NUM_SAMPLES + 1))
    assert (np.diff(curve, axis=0) >= -1e-9).all()


def test_weights_of_ranks_are_probabilities_and_the_worst_is_best_only_alone():
    weights = subset_weights(25, (1, 10, 25))
    np.testing.assert_allclose(weights.sum(1), 1.0)
    assert weights[1, -9:].tolist() == [0.0] * 9
    assert weights[2].tolist() == [1.0] + [0.0] * 24


def test_ranks_keep_the_order_of_equal_samples():
    preds = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]])
    counts = class_counts(runs_of(preds, np.array([0, 0, 1]), 3), 1, NUM_CLASSES)
    # MoC: 0, 1/2, 1, 1/2
    assert ranked_samples(counts).tolist() == [[2, 1, 3, 0]]


def reference_votes(preds, targets):
    """Count frame by frame and class by class."""
    said, right = np.zeros(len(preds) + 1, int), np.zeros(len(preds) + 1, int)
    for frame, true in enumerate(targets):
        for label in range(NUM_CLASSES):
            level = (preds[:, frame] == label).sum()
            said[level] += level > 0
            right[level] += label == true
    return said, right


def test_votes_are_counted_as_frame_by_frame():
    for preds, labels in VIDEOS:
        votes = count_votes(runs_of(preds, labels, 20, 40), NUM_CLASSES)
        for found, expected in zip(votes, reference_votes(preds, labels), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_calibration_by_hand():
    # One of two says it on 4 frames, right on 1; both say it on 2 frames, right on both.
    votes = Votes(np.array([0, 4, 2]), np.array([3, 1, 2]))
    np.testing.assert_allclose(votes.frequencies, [np.nan, 0.25, 1.0])
    # 4 words at a gap of 0.25, 2 x 2 words at a gap of 0.
    assert votes.calibration_error == pytest.approx((4 * 0.25 + 4 * 0.0) / 8)


def test_samples_in_the_place_of_the_truth_are_left_out_one_by_one():
    preds, _ = made_up(7)
    left_out = [
        reference_votes(np.delete(preds, sample, axis=0), preds[sample])
        for sample in range(NUM_SAMPLES)
    ]
    of_samples = count_votes(runs_of(preds, preds[0], 40), NUM_CLASSES).of_samples()
    for found, expected in zip(of_samples, np.sum(left_out, axis=0), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_samples_of_the_true_distribution_are_as_calibrated_as_samples_can_be():
    random = np.random.default_rng(0)
    frames, likely = 6000, random.dirichlet(np.ones(NUM_CLASSES), size=6000)
    drawn = (random.random((26, frames, 1)) > likely.cumsum(1)).sum(2)
    votes = count_votes(runs_of(drawn[:25], drawn[25], frames), NUM_CLASSES)
    assert votes.calibration_error == pytest.approx(votes.of_samples().calibration_error, abs=0.01)
    wrong = count_votes(runs_of(drawn[:25], (drawn[25] + 1) % NUM_CLASSES, frames), NUM_CLASSES)
    assert wrong.calibration_error > votes.calibration_error + 0.2


def test_durations_of_equal_futures_are_at_no_distance():
    durations = Durations()
    durations.update(np.array([[0, 0, 1, 1], [2, 2, 0, 0]]), np.array([1, 1, 2, 2]))
    assert durations.distance == 0.0
    assert durations.num_sampled.tolist() == [2, 2]
    assert durations.num_true.tolist() == [2]


def test_futures_twice_as_long_are_at_the_distance_of_log_2():
    durations = Durations()
    durations.update(np.array([[0, 0, 0, 0, 1, 1, 1, 1]]), np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    assert durations.distance == pytest.approx(np.log(2))
    assert (durations.num_sampled.mean(), durations.num_true.mean()) == (2, 4)


def test_frames_without_a_label_are_no_segment():
    durations = Durations()
    durations.update(np.array([[0, 1, NO_LABEL, NO_LABEL], [NO_LABEL] * 4]), np.array([0] * 4))
    assert durations.sampled.tolist() == [1, 1]
    assert durations.num_sampled.tolist() == [2, 0]


def test_one_sample_has_nothing_to_agree_with_and_no_label_no_duration():
    preds, labels = np.zeros((1, 4), int), np.array([0, 0, 0, 1])
    votes = count_votes(runs_of(preds, labels, 4), NUM_CLASSES)
    assert votes.calibration_error == 0.25
    assert np.isnan(votes.of_samples().calibration_error)
    durations = Durations()
    durations.update(np.full((1, 4), NO_LABEL), labels)
    assert np.isnan(durations.distance)


@pytest.mark.parametrize("module", [sampled_futures, score_futures, score_labels])
def test_the_examples_in_the_docstrings_hold(module):
    tried = doctest.testmod(module)
    assert (tried.attempted > 0, tried.failed) == (True, 0)
