"""Windows of TeSTra: what they see, what they have to tell, what is mixed in."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anticipate.datasets.batches.buckets import Draw
from anticipate.datasets.batches.ticks import (
    NO_TOKEN,
    Span,
    TickDataset,
    TickWindows,
    collate_ticks,
    tick_labels,
    tick_spans,
)
from anticipate.datasets.file.segment_table import UNKNOWN, SegmentTable
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.errors import ConfigError
from anticipate.tick_grid import ANTICIPATED, WORK, long_ticks, tick_frames

FPS = 30


class Store(ShortTermStore):
    """Features that tell video and frame: what a window reads can be read off."""

    fps = FPS

    def __init__(self):
        """Open no file."""

    def features_at(self, video_id, frames):
        return np.stack([np.full(len(frames), ord(video_id)), frames], 1).astype(np.float32)


def table(*segments):
    """Segments as (video, first tick, last tick, action)."""
    videos, firsts, lasts, actions = zip(*segments, strict=True)
    return SegmentTable(
        tuple(f"s{row}" for row in range(len(videos))),
        videos,
        tick_frames(np.array(firsts), FPS).astype(np.int32) + 2,
        tick_frames(np.array(lasts), FPS).astype(np.int32) + 2,
        *(np.array(actions, np.int32),) * 3,
    )


def dataset(segments, chosen=None, seed=None, gap=1.0, **windows):
    rows = np.arange(segments.num_rows) if chosen is None else np.array(chosen)
    return TickDataset(Store(), segments, rows, TickWindows(**windows), gap, 9, seed)


def test_segments_label_their_ticks_and_ticks_show_up_to_four_actions():
    segments = table(("a", 2, 4, 5), ("a", 4, 6, 7), ("a", 4, 4, 5), ("a", 5, 5, UNKNOWN))
    spans = tick_spans(segments, FPS)
    assert spans[0] == (2, 5)
    labels = tick_labels(spans, segments.actions)
    assert [sorted(set(row.tolist()) - {UNKNOWN}) for row in labels] == [
        [], [], [5], [5], [5, 7], [7], [7],
    ]  # fmt: skip
    crowded = tick_labels([Span(0, 1)] * 6, np.arange(1, 7))
    assert crowded.tolist() == [[1, 2, 3, 4]]


@given(st.integers(31, 20_000), st.sampled_from([0.5, 1.0]))
def test_strict_windows_see_nothing_later_than_the_anticipation_time(start, gap):
    end, token = TickWindows().scored(start, FPS, gap)
    newest = tick_frames(np.maximum(end + WORK, 0), FPS).max()
    assert newest <= max(start - 1 - gap * FPS + 1, 1)
    told = np.concatenate([end + WORK, end + ANTICIPATED])[token]
    assert abs(told - (start * 4 // FPS)) <= (0 if gap == 1.0 else 1)


@pytest.mark.parametrize("gap", [0.5, 1.0])
def test_segments_that_begin_before_anything_may_be_seen_have_no_token(gap):
    first = 1 + int(gap * FPS)
    tokens = [TickWindows().scored(start, FPS, gap)[1] for start in range(1, first + 2)]
    assert tokens[: first - 1] == [NO_TOKEN] * (first - 1)
    assert min(tokens[first - 1 :]) >= len(WORK)


def test_released_windows_are_those_of_the_public_code():
    windows = TickWindows(clock="released")
    found = {tick: windows.scored(-(-tick * 15 // 2), FPS, 1.0) for tick in (7, 8, 19, 20, 21, 60)}
    assert found == {
        7: (20, NO_TOKEN),
        8: (20, 4),
        19: (21, 9),
        20: (20, 10),
        21: (22, 10),
        60: (61, 10),
    }


@pytest.mark.parametrize("evenly", [False, True])
@pytest.mark.parametrize("begin", [0, 1, 4, 200, 256, 257, 999])
def test_long_tokens_before_the_video_are_hidden_and_tick_0_is_seen_once(begin, evenly):
    ticks, padding = long_ticks(begin, 64, evenly)
    assert len(ticks) == 64
    assert (np.diff(ticks) >= 0).all()
    seen = ticks[~padding]
    assert len(seen) >= 1
    assert len(np.unique(seen)) == len(seen)
    assert (ticks[padding] == 0).all()
    if begin >= 257:
        assert not padding.any()
        newest, oldest = (begin - 1, begin - 256) if evenly else (begin - 4, begin - 256)
        assert (ticks[-1], ticks[0]) == (newest, oldest)


def test_training_windows_repeat_exactly_and_move_with_the_epoch():
    segments = table(("a", 60, 80, 1), ("a", 10, 20, 2))
    data = dataset(segments, seed=3)
    assert data.rows.segment_ids == ("s0",)  # the other one starts too early for a window
    frames = [data[Draw(0, epoch)].frame for epoch in range(40)]
    assert frames == [data[Draw(0, epoch)].frame for epoch in range(40)]
    newest = np.unique(frames)
    expected = tick_frames(60 - 8 + np.arange(8) - 2, FPS)
    np.testing.assert_array_equal(newest, expected)


def test_training_tokens_read_and_name_their_own_ticks():
    segments = table(("a", 60, 80, 1), ("a", 41, 43, 2))
    item = dataset(segments, [0], seed=0, long_steps=4, mixing="none")[Draw(0, 0)]
    end = round((item.frame - 1) * 4 / FPS) + 2
    told = np.concatenate([end + WORK, end + ANTICIPATED])
    np.testing.assert_array_equal(item.features[4:, 1], tick_frames(end + WORK, FPS))
    shown = [set(row[0].tolist()) - {UNKNOWN} for row in item.labels]
    for tick, actions in zip(told, shown, strict=True):
        assert actions == ({1} if tick >= 60 else {2} if 41 <= tick <= 43 else set())
    assert (item.weights == [1, 0]).all()


def mixed(mixing, long_steps=0):
    """Items with everything mixed: segment s1 lies in view, s2 in video b may replace it."""
    segments = table(
        ("a", 60, 80, 1),
        ("a", 44, 47, 2),
        ("a", 20, 26, 2),
        ("a", 36, 43, 8),
        ("b", 100, 140, 2),
        ("b", 200, 230, 5),
    )
    data = dataset(segments, [0], seed=0, mixing=mixing, mixing_rate=1.0, long_steps=long_steps)
    return [data[Draw(0, epoch)] for epoch in range(60)]


@pytest.mark.parametrize("mixing", ["span", "released"])
def test_work_tokens_are_mixed_half_and_half_with_their_labels(mixing):
    seen = 0
    for item in mixed(mixing):
        where = np.flatnonzero(item.weights[:, 1])
        end = round((item.frame - 1) * 4 / FPS) + 2
        own = tick_frames(end + WORK, FPS)
        assert (where < len(WORK)).all(), "what is anticipated is never mixed"
        untouched = np.setdiff1d(np.arange(len(WORK)), where)
        np.testing.assert_array_equal(item.features[untouched, 0], ord("a"))
        if not len(where):
            continue
        seen += 1
        np.testing.assert_array_equal(item.features[where, 0], (ord("a") + ord("b")) / 2)
        frames = 2 * item.features[where, 1] - own[where]
        ticks = (frames - 1) * 4 / FPS
        steps = np.diff(ticks).round()
        assert (steps == (2 if mixing == "span" else 0)).all()
        assert (item.weights[where] == 0.5).all()
        named = {2} if ticks[0] < 150 else {5}
        assert all(set(row[1].tolist()) - {UNKNOWN} == named for row in item.labels[where])
    assert seen > 5


def test_long_tokens_show_another_video_of_the_same_action_and_labels_stay():
    changed = [item for item in mixed("span", long_steps=64) if (item.features[:, 0] == 98).any()]
    assert changed
    for item in changed:
        where = np.flatnonzero(item.features[:, 0] == ord("b"))
        assert (where < 64).all()
        ticks = (item.features[where, 1] - 1) * 4 / FPS
        assert ((ticks >= 99) & (ticks <= 141)).all()
        assert (item.weights[:, 1] == 0).all()


def test_batches_hold_what_items_do():
    segments = table(("a", 60, 80, 1), ("b", 50, 80, UNKNOWN))
    batch = collate_ticks([dataset(segments, long_steps=4)[Draw(row, 0)] for row in range(2)])
    assert batch.features.shape == (2, 14, 2)
    assert batch.tokens.tolist() == [11, 11]
    assert batch.targets.tolist() == [1, -100]
    assert batch.labels.shape == (2, 0, 2, 4)
    assert torch.equal(batch.frames[:, 0], batch.features[:, -1, 1].long())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"long_steps": 7}, "long_steps is 7: expected 0 or a divisor of 256"),
        ({"mixing_rate": 1.5}, "mixing_rate is 1.5: expected 0 to 1"),
        ({"clock": "late"}, "clock is 'late'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TickWindows(**settings)


def test_times_that_no_token_anticipates_are_refused():
    with pytest.raises(
        ConfigError, match=r"anticipation_time is 2\.0: TeSTra anticipates 0.5 or 1"
    ):
        TickWindows().scored(100, FPS, 2.0)
