"""Hits by video: they add up to the published scores, and intervals are over videos."""

import numpy as np
import pytest
import torch

from anticipate.protocol.short_term_scores import ShortTermScores
from anticipate.protocol.video_recalls import (
    DRAWS,
    Recalls,
    VideoRecalls,
    balanced,
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
    for group, chosen in (("unseen", new), ("seen", ~new), ("overall", new | ~new)):
        assert recall_of(balanced(recalls, chosen)) == pytest.approx(published[group][task])
    assert recalls.rows.sum() == ROWS - 1


RANDOM = np.random.default_rng(0)
COUNTS = RANDOM.integers(0, 3, size=(6, 7))
RECALLS = Recalls(COUNTS, RANDOM.binomial(COUNTS, 0.4))
CHOSEN = np.array([True, True, False, True, True, True])


def reference_recall(videos):
    """Weigh every row of some videos by one over the rows of its class in all that were chosen."""
    hits = rows = 0.0
    for video in videos:
        for label in range(7):
            weight = 1 / max(RECALLS.rows[CHOSEN, label].sum(), 1)
            hits += weight * RECALLS.hits[video, label]
            rows += weight * RECALLS.rows[video, label]
    return 100 * hits / rows


def test_draws_are_those_of_a_loop_over_them():
    numbers = np.flatnonzero(CHOSEN)
    times = np.random.default_rng(3).multinomial(5, [1 / 5] * 5, DRAWS)
    draws = resampled_recalls(balanced(RECALLS, CHOSEN), seed=3)
    expected = [reference_recall(np.repeat(numbers, one)) for one in times[:40]]
    np.testing.assert_allclose(draws[:40], expected)
    low, high = interval(draws)
    assert low < reference_recall(numbers) < high


def test_the_recall_of_a_group_is_the_weighed_mean_of_those_of_its_parts():
    weighed = balanced(RECALLS, CHOSEN)
    parts = [weighed[:, :2], weighed[:, 2:]]
    whole = np.average([recall_of(p) for p in parts], weights=[p[1].sum() for p in parts])
    assert recall_of(weighed) == pytest.approx(whole)
    assert np.isnan(recall_of(weighed[:, :0]))


def test_videos_that_agree_leave_no_doubt():
    rows = np.full((4, 3), 2)
    draws = resampled_recalls(balanced(Recalls(rows, rows // 2), np.ones(4, bool)))
    assert interval(draws) == pytest.approx((50.0, 50.0))
