"""Windows of TeSTra: what its network sees of a video before a segment, and what it has to tell.

Work and anticipation tokens have to name all actions that their ticks show (`tick_grid`).

In training the window of a segment moves at random around the second before it; features of other
segments may be mixed in. All chance follows from the seed, the epoch and the segment.
"""

import zlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int
from torch.utils.data import Dataset

from anticipate.choices import checked_choices
from anticipate.datasets.batches.buckets import Draw
from anticipate.datasets.file.segment_table import UNKNOWN, SegmentTable
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.errors import ConfigError
from anticipate.tick_grid import (
    ANTICIPATED,
    LONG_TICKS,
    RATE,
    WORK,
    Ticks,
    first_tick,
    long_ticks,
    tick_frames,
)
from anticipate.types import PAD_LABEL, TickBatch

__all__ = ["TickWindows"]

SHIFTS = 8
"""Ticks by which the training window of a segment may move towards its end."""
MAX_LABELS = 4
"""Actions that a tick may show; in EPIC-Kitchens-100 no training tick shows more."""
HORIZONS = (0.5, 1.0)
"""Seconds before a segment at which each anticipation token is read."""
NO_TOKEN = -1
"""Token that is scored where a segment starts too early for any: its scores are zeros."""

Mixing = Literal["none", "span", "released"]
Clock = Literal["strict", "released"]

Labels = Int[np.ndarray, "ticks labels"]


class Span(NamedTuple):
    """Ticks that a segment covers: from `first` on, `stop` itself not."""

    first: int
    stop: int


def tick_spans(segments: SegmentTable, fps: int) -> list[Span]:
    """Return the ticks that each segment covers."""
    stops = -(-segments.stops * RATE // fps)
    firsts = first_tick(segments.starts, fps)
    return [Span(*span) for span in zip(firsts.tolist(), stops.tolist(), strict=True)]


def tick_labels(spans: Sequence[Span], actions: Int[np.ndarray, " segments"]) -> Labels:
    """Return the actions of each tick of one video, UNKNOWN after them.

    Args:
        spans: Ticks of each segment.
        actions: Action of each segment, UNKNOWN where withheld.
    """
    labels = np.full((max((span.stop for span in spans), default=0), MAX_LABELS), UNKNOWN, np.int32)
    for span, action in zip(spans, actions.tolist(), strict=True):
        shown = labels[span.first : span.stop]
        new = ~(shown == action).any(axis=1) & (shown[:, -1] == UNKNOWN)
        free = (shown != UNKNOWN).sum(axis=1)
        shown[new, free[new]] = action
    return labels


class TickItem(NamedTuple):
    """One row of a `TickBatch`."""

    features: Float32[np.ndarray, "steps feature"]
    padding: Bool[np.ndarray, " long"]
    labels: Int[np.ndarray, "tokens sources labels"]
    weights: Float32[np.ndarray, "tokens sources"]
    token: int
    frame: int
    action: int
    segment_id: str
    video_id: str


class TickWindows:
    """How TeSTra looks at videos, in place of clips.

    Args:
        long_steps: Long tokens; 0 for none.
        mixing: In training, half of the segments in view show another one: with long memory in the
            long tokens, one of the same action; without, half and half in the work tokens, any
            other. `span` shows as much of it as fits, `released` one tick for all, as the public
            code; `none`: no mixing.
        mixing_rate: Share of the training windows that are mixed.
        clock: Where scored windows end: `strict`, so that nothing later than the anticipation time
            is seen; `released`, as in the public code, some of whose windows see more.

    Raises:
        ConfigError: A setting out of range.
    """

    @checked_choices
    def __init__(
        self,
        long_steps: int = 0,
        mixing: Mixing = "span",
        mixing_rate: float = 0.5,
        clock: Clock = "strict",
    ) -> None:
        if long_steps < 0 or (long_steps and LONG_TICKS % long_steps):
            raise ConfigError(
                f"long_steps is {long_steps}: expected 0 or a divisor of {LONG_TICKS}"
            )
        if not 0 <= mixing_rate <= 1:
            raise ConfigError(f"mixing_rate is {mixing_rate}: expected 0 to 1")
        self.long_steps, self.mixing, self.clock = long_steps, mixing, clock
        self.mixing_rate = mixing_rate

    def scored(self, start: int, fps: int, anticipation_time: float) -> tuple[int, int]:
        """Return the end of the window of a segment, and the token whose scores count.

        Args:
            start: First frame of the segment.
            fps: Annotation rate.
            anticipation_time: Seconds before the segment that may not be seen: 0.5 or 1.

        Raises:
            ConfigError: Another time; no token anticipates that.
        """
        tick = start * RATE // fps
        if self.clock == "released":
            return _released_window(tick)
        token = anticipating_token(anticipation_time)
        if start <= fps * anticipation_time:  # even the first frame comes too late
            return -int(WORK[0]), NO_TOKEN
        if token > len(WORK):
            return tick - int(ANTICIPATED[-1]), token
        newest = (start - 1 - int(fps * anticipation_time)) * RATE // fps
        return newest - int(WORK[-1]), token


def anticipating_token(anticipation_time: float) -> int:
    """Return which token anticipates an action so many seconds ahead: 0.5 or 1.

    Raises:
        ConfigError: Another time.
    """
    if anticipation_time not in HORIZONS:
        raise ConfigError(
            f"anticipation_time is {anticipation_time}: TeSTra anticipates 0.5 or 1 second"
        )
    return len(WORK) + HORIZONS.index(anticipation_time)


def _released_window(tick: int) -> tuple[int, int]:
    """Return end and token of the public code: from tick 20 on the first anticipation token.

    Before, it reads the work token at the segment's own start, or nothing at all.
    """
    length = -int(WORK[0])
    if tick >= length:
        return tick + int(tick > length), len(WORK)
    if tick >= 8:
        return tick % 2 + length, tick // 2
    return length, NO_TOKEN


class TickDataset(Dataset[TickItem]):
    """The windows of some segments of one part; item i is that of the i-th chosen segment.

    Args:
        store: Data file.
        segments: All segments of the part; they also label the ticks.
        chosen: Positions of the segments whose windows are items.
        windows: How the network looks.
        anticipation_time: Seconds before a scored segment that may not be seen.
        num_classes: Actions among which those that are mixed in are drawn.
        seed: Seed of training windows; None for scored ones.
    """

    def __init__(
        self,
        store: ShortTermStore,
        segments: SegmentTable,
        chosen: Int[np.ndarray, " items"],
        windows: TickWindows,
        anticipation_time: float,
        num_classes: int,
        seed: int | None = None,
    ) -> None:
        self.store, self.segments, self.windows, self.seed = store, segments, windows, seed
        self.anticipation_time, self.num_classes = anticipation_time, num_classes
        self.spans = np.array(tick_spans(segments, store.fps), dtype=np.int64).reshape(-1, 2)
        self.lengths = self.spans[:, 1] - self.spans[:, 0]
        self.by_video = segments.by_video()
        self.labels = {
            video: tick_labels([Span(*span) for span in self.spans[own]], segments.actions[own])
            for video, own in (self.by_video.items() if seed is not None else ())
        }
        self.chosen = chosen if seed is None else chosen[self._latest_end(chosen) >= -WORK[0]]
        self.rows = segments.take(self.chosen)
        self.by_action = {
            action: np.flatnonzero(segments.actions == action)
            for action in np.unique(segments.actions).tolist()
        }
        self.videos = np.unique(segments.video_ids, return_inverse=True)[1]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, draw: Draw) -> TickItem:
        row = int(self.chosen[draw.item])
        return self._scored(row) if self.seed is None else self._training(row, draw.epoch)

    def _latest_end(self, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
        """Return where the training windows of segments end at the latest: a second before them."""
        first = first_tick(self.segments.starts[rows], self.store.fps)
        last = first_tick(self.segments.stops[rows], self.store.fps)
        return np.minimum(first + SHIFTS - 1, last) - SHIFTS

    def _scored(self, row: int) -> TickItem:
        end, token = self.windows.scored(
            int(self.segments.starts[row]), self.store.fps, self.anticipation_time
        )
        ticks, padding = self._ticks(end, spread_evenly=False)
        features = self._features(self.segments.video_ids[row], ticks)
        nothing = np.zeros((0, 2, MAX_LABELS), np.int32)
        return self._item(row, end, token, features, padding, nothing, np.zeros((0, 2), np.float32))

    def _training(self, row: int, epoch: int) -> TickItem:
        name = zlib.crc32(self.segments.segment_ids[row].encode())
        random = np.random.default_rng((self.seed or 0, epoch, name))
        end = int(self._latest_end(np.array([row]))[0])
        earliest = int(self.spans[row, 0]) - SHIFTS
        end = int(random.integers(min(max(earliest, -int(WORK[0])), end), end + 1))
        ticks, padding = self._ticks(end, spread_evenly=True)
        features = self._features(self.segments.video_ids[row], ticks)
        told = np.concatenate([end + WORK, end + ANTICIPATED])
        labels = np.stack([self._labels(row, told), np.full((len(told), MAX_LABELS), UNKNOWN)], 1)
        weights = np.tile(np.array([1, 0], np.float32), (len(told), 1))
        if self.windows.mixing != "none" and random.random() < self.windows.mixing_rate:
            self._mix(row, end, ticks, features, labels, weights, random)
        return self._item(row, end, len(told) - 1, features, padding, labels, weights)

    def _ticks(self, end: int, spread_evenly: bool) -> tuple[Ticks, Bool[np.ndarray, " long"]]:
        work = end + WORK
        if not self.windows.long_steps:
            return work.clip(0), np.zeros(0, dtype=bool)
        long, padding = long_ticks(int(work[0]), self.windows.long_steps, spread_evenly)
        return np.concatenate([long, work.clip(0)]), padding

    def _features(self, video_id: str, ticks: Ticks) -> Float32[np.ndarray, "tokens feature"]:
        return self.store.features_at(video_id, tick_frames(ticks, self.store.fps))

    def _labels(self, row: int, ticks: Ticks) -> Labels:
        known = self.labels[self.segments.video_ids[row]]
        labels = np.full((len(ticks), MAX_LABELS), UNKNOWN, np.int32)
        there = (ticks >= 0) & (ticks < len(known))
        labels[there] = known[ticks[there]]
        return labels

    def _mix(
        self,
        row: int,
        end: int,
        ticks: Ticks,
        features: Float32[np.ndarray, "tokens feature"],
        labels: Int[np.ndarray, "told sources labels"],
        weights: Float32[np.ndarray, "told sources"],
        random: np.random.Generator,
    ) -> None:
        """Let half of the segments in view show others, in place: features and their labels."""
        begin, long = end + int(WORK[0]), self.windows.long_steps
        own = self.by_video[self.segments.video_ids[row]]
        stops = self.spans[own, 1]
        if long:
            in_view = (stops <= self.spans[row, 0]) & (stops > begin - LONG_TICKS)
        else:
            in_view = (stops < self.spans[row, 1]) & (stops > begin)
        seen = own[in_view]
        part = slice(0, long) if long else slice(None)
        for shown in random.choice(seen, len(seen) // 2, replace=False).tolist():
            donor = self._donor(shown, same_action=long > 0, random=random)
            tokens = np.flatnonzero(
                (ticks[part] >= self.spans[shown, 0]) & (ticks[part] < self.spans[shown, 1])
            )
            if donor is None or not len(tokens):
                continue
            spare = self.lengths[donor] - self.lengths[shown]
            later = ticks[tokens] - self.spans[shown, 0]
            if self.windows.mixing == "released":
                later = np.zeros_like(later)
            others = self.spans[donor, 0] + int(random.integers(spare + 1)) + later
            found = self._features(self.segments.video_ids[donor], others)
            if long:
                features[tokens] = found
                continue
            features[tokens] = 0.5 * features[tokens] + 0.5 * found
            labels[tokens, 1], weights[tokens] = self._labels(donor, others), 0.5

    def _donor(self, row: int, same_action: bool, random: np.random.Generator) -> int | None:
        """Draw a longer segment of another video: of the same action, or of any."""
        any_action = int(random.integers(self.num_classes))
        action = int(self.segments.actions[row]) if same_action else any_action
        rows = self.by_action.get(action, np.zeros(0, np.int64))
        longer = self.lengths[rows] > self.lengths[row]
        rows = rows[longer & (self.videos[rows] != self.videos[row])]
        return int(random.choice(rows)) if len(rows) else None

    def _item(
        self,
        row: int,
        end: int,
        token: int,
        features: Float32[np.ndarray, "tokens feature"],
        padding: Bool[np.ndarray, " long"],
        labels: Int[np.ndarray, "told sources labels"],
        weights: Float32[np.ndarray, "told sources"],
    ) -> TickItem:
        newest = np.array([max(end + int(WORK[-1]), 0)])
        return TickItem(
            features,
            padding,
            labels,
            weights,
            token,
            int(tick_frames(newest, self.store.fps)[0]),
            int(self.segments.actions[row]),
            self.segments.segment_ids[row],
            self.segments.video_ids[row],
        )


def collate_ticks(items: list[TickItem]) -> TickBatch:
    """Make one batch of some windows.

    Args:
        items: Rows of the batch.
    """
    arrays = (np.stack([item[column] for item in items]) for column in range(4))
    features, padding, labels, weights = map(torch.from_numpy, arrays)
    return TickBatch(
        features=features,
        padding=padding,
        labels=labels.long(),
        weights=weights,
        tokens=torch.tensor([item.token for item in items]),
        targets=torch.tensor(
            [PAD_LABEL if item.action == UNKNOWN else item.action for item in items]
        ),
        frames=torch.tensor([[item.frame] for item in items]),
        segment_ids=tuple(item.segment_id for item in items),
        video_ids=tuple(item.video_id for item in items),
    )
