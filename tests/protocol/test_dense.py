"""DenseScores against a reference that walks frame by frame, and against known answers."""

import doctest
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.errors import ConfigError
from anticipate.protocol import moc as functional
from anticipate.protocol.dense_scores import PRED_RATIOS, DenseScores
from anticipate.types import NO_LABEL

NUM_CLASSES = 5
MEASURES = ("mean_moc", "top1_moc", "mof", "frame_diversity")


def reference_window(num_frames, obs_ratio, pred_ratio):
    return int(obs_ratio * num_frames), min(int((pred_ratio + obs_ratio) * num_frames), num_frames)


def reference_moc(right, wrong):
    """Percent, over the classes that occur; exact."""
    shares = [
        Fraction(right[c], right[c] + wrong[c]) for c in range(NUM_CLASSES) if right[c] + wrong[c]
    ]
    return sum(shares) / len(shares) if shares else None


def reference_count(preds, targets, past, end):
    right, wrong = [0] * NUM_CLASSES, [0] * NUM_CLASSES
    for frame in range(past, end):
        hit = preds[frame] == targets[frame]
        (right if hit else wrong)[targets[frame]] += 1
    return right, wrong


def reference_diversity(samples, past, end):
    if end == past or len(samples) < 2:
        return None
    differing = [
        sum(one[frame] != other[frame] for frame in range(past, end))
        for one, other in itertools.combinations(samples, 2)
    ]
    return Fraction(sum(differing), len(differing) * (end - past))


def add(total, counts):
    for total_part, part in zip(total, counts, strict=True):
        total_part[:] = [a + b for a, b in zip(total_part, part, strict=True)]


def percent(share):
    return math.nan if share is None else float(100 * share)


def reference_dense_scores(videos, obs_ratio, pred_ratio):
    """Mean MoC, Top-1 MoC, MoF and frame diversity of one horizon, written from the protocol."""
    mean, top1 = ([0] * NUM_CLASSES, [0] * NUM_CLASSES), ([0] * NUM_CLASSES, [0] * NUM_CLASSES)
    diversities = []
    for samples, targets in videos:
        past, end = reference_window(len(targets), obs_ratio, pred_ratio)
        best, best_moc = None, None
        for preds in samples:
            counts = reference_count(preds, targets, past, end)
            add(mean, counts)
            moc = reference_moc(*counts)
            if best is None or (moc is not None and moc > best_moc):
                best, best_moc = counts, moc
        add(top1, best)
        diversities.append(reference_diversity(samples, past, end))
    known = [d for d in diversities if d is not None]
    num_frames = sum(map(sum, mean))
    return {
        "mean_moc": percent(reference_moc(*mean)),
        "top1_moc": percent(reference_moc(*top1)),
        "mof": percent(Fraction(sum(mean[0]), num_frames) if num_frames else None),
        "frame_diversity": float(sum(known) / len(known)) if known else math.nan,
    }


@st.composite
def data_sets(draw, predicted=tuple(range(NUM_CLASSES))):
    """A few short videos, so that empty windows and ties between samples are frequent."""
    classes, answers = st.integers(0, NUM_CLASSES - 1), st.sampled_from(predicted)
    num_samples = draw(st.integers(1, 4))
    videos = []
    for num_frames in draw(st.lists(st.integers(1, 40), min_size=1, max_size=4)):
        row = {"min_size": num_frames, "max_size": num_frames}
        preds = st.lists(st.lists(answers, **row), min_size=num_samples, max_size=num_samples)
        videos.append((draw(preds), draw(st.lists(classes, **row))))
    return videos


def score(videos, obs_ratio, dtype=torch.int64):
    metric = DenseScores(NUM_CLASSES, obs_ratio)
    for samples, targets in videos:
        metric.update(torch.tensor(samples, dtype=dtype), torch.tensor(targets, dtype=torch.int16))
    return metric


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(functional).failed == 0


@settings(max_examples=60, deadline=None)
@given(data_sets(), st.sampled_from([0.2, 0.3, 0.7]), st.sampled_from([torch.uint8, torch.int64]))
def test_scores_equal_the_frame_by_frame_reference(videos, obs_ratio, dtype):
    scores = score(videos, obs_ratio, dtype).compute()
    for pred_ratio in PRED_RATIOS:
        expected = reference_dense_scores(videos, obs_ratio, pred_ratio)
        found = {measure: scores[measure][str(pred_ratio)] for measure in MEASURES}
        assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(data_sets(predicted=(0, 1, NO_LABEL)))
def test_no_class_is_never_right_and_differs_from_every_class(videos):
    scores = score(videos, 0.2).compute()
    for pred_ratio in PRED_RATIOS:
        expected = reference_dense_scores(videos, 0.2, pred_ratio)
        found = {measure: scores[measure][str(pred_ratio)] for measure in MEASURES}
        assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(data_sets(), data_sets())
def test_states_of_two_processes_add_up_to_the_whole(first, second):
    second = [(first_samples(first, samples), targets) for samples, targets in second]
    whole, left, right = (score(part, 0.2) for part in (first + second, first, second))
    for state, reduction in left._reductions.items():
        merged = reduction(torch.stack([getattr(left, state), getattr(right, state)]))
        setattr(left, state, merged)
    left._computed = None
    merged, expected = left.compute(), whole.compute()
    assert {m: merged[m] for m in MEASURES} == {
        m: pytest.approx(expected[m], abs=1e-9, nan_ok=True) for m in MEASURES
    }
    assert merged["num_videos"] == len(first) + len(second)


def first_samples(like, samples):
    """Repeat or cut samples to the number of another data set."""
    wanted = len(like[0][0])
    return (samples * wanted)[:wanted]


def test_perfect_predictions_score_100_without_diversity():
    targets = torch.arange(100) // 20
    metric = DenseScores(NUM_CLASSES, 0.2)
    metric.update(targets.repeat(3, 1), targets)
    scores = metric.compute()
    for measure in ("mean_moc", "top1_moc", "mof"):
        assert list(scores[measure].values()) == [100.0] * 4
    assert list(scores["frame_diversity"].values()) == [0.0] * 4


def test_a_constant_prediction_gets_100_for_its_class_and_0_for_the_others():
    targets = torch.tensor([0] * 20 + [1] * 30 + [2] * 50)  # window of 0.5: 30 of 1, 20 of 2
    metric = DenseScores(NUM_CLASSES, 0.2)
    metric.update(torch.full((1, 100), 1), targets)
    scores = metric.compute()
    assert scores["mean_moc"] == {"0.1": 100.0, "0.2": 100.0, "0.3": 100.0, "0.5": 50.0}
    assert scores["mof"]["0.5"] == 60.0
    assert math.isnan(scores["frame_diversity"]["0.1"])  # one sample has no pair


def test_the_mean_runs_over_classes_of_the_split_not_over_videos():
    metric = DenseScores(NUM_CLASSES, 0.2)
    metric.update(torch.zeros(1, 100, dtype=torch.int64), torch.zeros(100, dtype=torch.int64))
    metric.update(torch.zeros(1, 300, dtype=torch.int64), torch.ones(300, dtype=torch.int64))
    assert metric.compute()["mean_moc"]["0.1"] == 50.0
    assert metric.compute()["mof"]["0.1"] == 25.0


def test_top1_chooses_per_horizon_and_takes_the_first_of_equal_samples():
    targets = torch.tensor([0] * 20 + [1] * 10 + [2] * 70)
    early = torch.tensor([0] * 20 + [1] * 80)  # right in the first tenth only
    late = torch.full((100,), 2)  # right afterwards only
    metric = DenseScores(NUM_CLASSES, 0.2, pred_ratios=(0.1, 0.5))
    metric.update(torch.stack([early, late]), targets)
    assert metric.compute()["top1_moc"] == {"0.1": 100.0, "0.5": 50.0}
    # At 0.5 both have a MoC of 50; the first one brings its 10 frames of class 1, none of class 2.
    assert metric.top1_correct[1].tolist() == [0, 10, 0, 0, 0]


def test_rounding_does_not_break_ties():
    # Three classes of 10, 10 and 10 frames hit 1, 2, 3 and 3, 2, 1 times: equal, though the sums
    # 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ in the last bit.
    frames = np.array([[10, 10, 10]])
    for correct in ([[1, 2, 3], [3, 2, 1]], [[3, 2, 1], [1, 2, 3]]):
        counts = functional.ClassCounts(np.array([correct]), frames)
        assert functional.best_samples(counts).tolist() == [0]


def test_only_the_window_is_scored():
    targets = torch.arange(100) // 20
    preds = targets.repeat(2, 1)
    preds[:, :20] = 4
    preds[:, 70:] = 0
    longer = torch.cat([preds, preds], dim=1)
    metric = DenseScores(NUM_CLASSES, 0.2)
    metric.update(longer, targets)
    assert list(metric.compute()["mean_moc"].values()) == [100.0] * 4


def test_a_video_with_an_empty_window_counts_as_video_only():
    metric = DenseScores(NUM_CLASSES, 0.2)
    metric.update(torch.zeros(2, 1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    scores = metric.compute()
    assert scores["num_videos"] == 1
    assert all(math.isnan(scores[measure]["0.5"]) for measure in MEASURES)
    targets = torch.arange(100) // 20
    metric.update(targets.repeat(2, 1), targets)
    assert metric.compute()["mean_moc"]["0.5"] == 100.0
    assert metric.compute()["frame_diversity"]["0.5"] == 0.0


def test_reset_forgets_every_video():
    targets = torch.arange(100) // 20
    metric = DenseScores(NUM_CLASSES, 0.2)
    metric.update(targets.roll(20).repeat(2, 1), targets)
    metric.reset()
    metric.update(targets.repeat(3, 1), targets)
    scores = metric.compute()
    assert (scores["num_videos"], scores["num_samples"]) == (1, 3)
    assert scores["mean_moc"]["0.5"] == 100.0


@pytest.mark.parametrize(
    ("preds", "message"),
    [
        (torch.zeros(2, 69, dtype=torch.int64), "69 frames, the longest horizon needs 70"),
        (torch.zeros(3, 100, dtype=torch.int64), "3 samples, those of earlier videos 2"),
        (torch.full((2, 100), NUM_CLASSES), "preds hold a class outside"),
        (torch.full((2, 100), -100), "preds hold a class outside"),
    ],
)
def test_predictions_that_cannot_be_counted_are_refused_before_they_count(preds, message):
    targets = torch.arange(100) // 20
    metric = DenseScores(NUM_CLASSES, 0.2)
    metric.update(targets.repeat(2, 1), targets)
    with pytest.raises(ValueError, match=message):
        metric.update(preds, targets)
    assert int(metric.num_videos) == 1


def test_padded_targets_are_refused():
    with pytest.raises(ValueError, match="targets hold a class outside"):
        DenseScores(NUM_CLASSES, 0.2).update(
            torch.zeros(2, 100, dtype=torch.int64), torch.full((100,), -100)
        )


@pytest.mark.parametrize("pred_ratios", [(), (0.2, 0.1), (0.1, 0.1)])
def test_pred_ratios_must_ascend(pred_ratios):
    with pytest.raises(ConfigError, match="ascending"):
        DenseScores(NUM_CLASSES, 0.2, pred_ratios)
