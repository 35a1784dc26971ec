"""Activities that differ in pace alone, and what a chosen forget matrix is worth there."""

import numpy as np
import pytest
import torch

from anticipate.datasets.release.synthesis import SyntheticFeatures
from anticipate.datasets.synthetic_memory import FPS, MEDIAN_SECONDS, NUM_CLASSES, invent
from anticipate.errors import ConfigError
from anticipate.nn import selective_scan
from anticipate.nn.mixant import ForgetGateBank

ACTIVITIES = tuple(MEDIAN_SECONDS)
STRIDE = 10


@pytest.fixture(scope="module")
def release():
    return invent(12)


def test_all_activities_show_all_actions_at_their_own_pace(release):
    for activity, seconds in MEDIAN_SECONDS.items():
        labels = [video.labels for video in release.videos if video.activity == activity]
        assert set(np.concatenate(labels)) == set(range(NUM_CLASSES))
        whole = [np.diff(np.flatnonzero(np.diff(frames))) for frames in labels]
        assert np.median(np.concatenate(whole)) / FPS == pytest.approx(seconds, rel=0.2)


def test_an_action_is_followed_by_the_next_of_the_cycle_or_the_one_after(release):
    for video in release.videos:
        steps = np.diff(video.labels.astype(int)) % NUM_CLASSES
        assert set(steps) <= {0, 1, 2}


def test_persons_are_in_one_part_and_one_person_is_refused(release):
    persons = [{name.split("_")[0] for name in ids} for ids in release.splits["1"].values()]
    assert not persons[0] & persons[1]
    with pytest.raises(ConfigError, match="--persons 1 leaves a part empty"):
        invent(1)


def test_a_forget_matrix_chosen_by_activity_recognises_more_than_any_single_one(release):
    """One state a channel averages the past: hand-set experts and router, no training."""
    source = SyntheticFeatures(NUM_CLASSES, 16, FPS, STRIDE, noise=2.0)
    rates = torch.logspace(-1.5, 1.5, 13)
    bank = ForgetGateBank(16, 1, num_experts=len(rates))
    with torch.no_grad():
        bank.A_log.copy_(rates.log().reshape(-1, 1, 1).expand_as(bank.A_log))
    right = {activity: [] for activity in ACTIVITIES}
    for video in release.videos:
        features = torch.from_numpy(np.concatenate(list(source.rows(video))))
        labels = torch.from_numpy(video.labels[::STRIDE].astype(np.int64))
        right[video.activity].append(_recognised(bank, features, labels, source))
    accuracy = torch.stack([torch.cat(right[activity], 1).mean(1) for activity in ACTIVITIES])

    chosen = accuracy.argmax(dim=1)
    assert chosen[0] > chosen[1] > chosen[2], "faster activities forget faster"
    assert accuracy.max(dim=1).values.mean() > accuracy.mean(dim=0).max() + 0.01


def _recognised(bank, features, labels, source):
    """Whether the nearest prototype is right: (experts, tokens)."""
    num_experts, channels = bank.A_log.shape[0], features.shape[1]
    A = bank(features.expand(num_experts, -1, -1), torch.eye(num_experts))
    u = features.T.expand(num_experts, -1, -1)
    one = torch.ones(num_experts, 1, len(features))
    means = selective_scan(u, torch.ones_like(u), A, one, one, backend="reference")
    prototypes = torch.from_numpy(source._prototypes @ source._embedding)
    scores = torch.einsum("edl,cd->ecl", means, prototypes.reshape(NUM_CLASSES, channels))
    return (scores.argmax(1) == labels).float()
