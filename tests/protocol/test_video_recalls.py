"""Hits by video: they add up to the published scores, and intervals are over videos."""

import numpy as np
import pytest
import torch

from anticipate.protocol.short_term_scores import ShortTermScores
from anticipate.protocol.video_recalls import (
    DRAWS,
    Recalls,
    VideoRecalls,
    interval,
    recall_of,
    resampled_recalls,
)
from anticipate.types import PAD_LABEL, ShortTermProtocol, Taxonomy

ROWS, ACTIONS = 60, 12
VIDEO_OF = {f"s{row}": f"v{row % 5}" for row in range(ROWS)}
UNSEEN = frozenset(name for name, video in VIDEO_OF.items() if video in ("v1", "v3"))


@pytest.fixture(scope="module")
def scored():
    """Recalls by video, and the published scores of the same rows."""
    taxonomy = Taxonomy((0, 1, 2) * 4, (0, 1, 2, 3) * 3, 3, 4)
    protocol = ShortTermProtocol("ek100", taxonomy, {"unseen": UNSEEN}, {})
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(ROWS, ACTIONS, generator=generator)
    targets = torch.randint(ACTIONS, (ROWS,), generator=generator)
    targets[7] = PAD_LABEL
    metrics = VideoRecalls(protocol, VIDEO_OF), ShortTermScores(protocol)
    for part in (slice(0, 25), slice(25, ROWS)):
        for metric in metrics:
            metric.update(logits[part], targets[part], list(VIDEO_OF)[part])
    return metrics


@pytest.mark.filterwarnings("ignore:tail")
@pytest.mark.parametrize("task", ["verb", "noun", "action"])
def test_groups_of_videos_have_the_recalls_of_the_published_scores(scored, task):
    videos, metric = scored
    recalls, published = videos.compute()[task], metric.compute()
    new = np.array([video in ("v1", "v3") for video in videos.subsets])
    assert recall_of(recalls, new) == pytest.approx(published["unseen"][task])
    assert recall_of(recalls, ~new) == pytest.approx(published["seen"][task])
    assert recall_of(recalls, new | ~new) == pytest.approx(published["overall"][task])
    assert recalls.rows.sum() == ROWS - 1


def reference_draws(recalls, videos, seed):
    """Draw videos one draw at a time, and take the mean over the classes that occur."""
    numbers = np.flatnonzero(videos)
    count = len(numbers)
    found = []
    for times in np.random.default_rng(seed).multinomial(count, [1 / count] * count, DRAWS):
        drawn = np.repeat(numbers, times)
        hits, rows = recalls.hits[drawn].sum(axis=0), recalls.rows[drawn].sum(axis=0)
        found.append(100 * np.mean(hits[rows > 0] / rows[rows > 0]))
    return np.array(found)


def test_draws_are_those_of_a_loop_over_them():
    random = np.random.default_rng(0)
    rows = random.integers(0, 3, size=(6, 7))
    recalls = Recalls(rows, random.binomial(rows, 0.4))
    videos = np.array([True, True, False, True, True, True])
    draws = resampled_recalls(recalls, videos, seed=3)
    np.testing.assert_allclose(draws, reference_draws(recalls, videos, seed=3))
    low, high = interval(draws)
    assert low < recall_of(recalls, videos) < high


def test_videos_that_agree_leave_no_doubt():
    rows = np.full((4, 3), 2)
    recalls = Recalls(rows, rows // 2)
    assert interval(resampled_recalls(recalls, np.ones(4, bool))) == (50.0, 50.0)
