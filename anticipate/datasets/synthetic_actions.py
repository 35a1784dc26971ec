"""`anticipate prepare synthetic_actions`: a small invented data set of short-term anticipation.

A cook has two things in hand and mostly turns from one to the other. Each thing has its own order
of actions, so what comes next is decided by what was last done with the other thing, two or more
actions ago: a model that looks at the last action alone cannot tell. Things are used unequally
often, which makes tail classes; two of the eight cooks never appear in training.
"""

import argparse
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from anticipate.datasets.batches.short_term_module import ShortTermDataModule
from anticipate.datasets.file.segment_table import UNKNOWN, SegmentTable, joined
from anticipate.datasets.release.options import add_fps, add_streams, positive
from anticipate.datasets.release.releases import (
    FPS,
    FeatureSource,
    ShortTermRelease,
    Vocabulary,
    labelled_videos,
)
from anticipate.datasets.release.synthesis import seeded_generator, synthesized_segments
from anticipate.errors import ConfigError

FEATURE_DIM = 64
NUM_VIDEOS = 60
MIN_VIDEOS = 20
NUM_SEGMENTS = 62
"""Segments of a video on average."""

COOKS = tuple(f"P{number:02d}" for number in range(1, 9))
UNSEEN = COOKS[6:]
"""Cooks that never appear in training."""

ORDERS = {
    ("carrot", "onion", "potato"): ("take", "wash", "peel", "cut", "cook"),
    ("apple", "lemon"): ("take", "wash", "cut", "put"),
    ("milk", "water", "oil"): ("take", "pour", "put"),
    ("pan", "bowl"): ("take", "mix", "wash", "put"),
    ("cup", "plate"): ("take", "put"),
}
"""What is done with a thing, in this order."""

SWITCH = 0.8
"""Probability of turning to the other thing after an action."""
DECLINE = 0.85
"""Each thing is used so much less often than the one before."""
SECONDS = (1.0, 6.0)
"""Shortest and longest segment."""
GAP_SECONDS = 1.5
"""Longest pause between two segments."""
OVERLAP = 0.1
"""Share of segments that start before the one in front has ended."""
TAIL = 0.2
"""Share of the training segments that tail classes have together."""

_ORDER_OF = {noun: verbs for nouns, verbs in ORDERS.items() for noun in nouns}
NOUNS = tuple(_ORDER_OF)
VERBS = tuple(dict.fromkeys(verb for verbs in ORDERS.values() for verb in verbs))
PAIRS = tuple(
    (verb, noun)
    for (verb, verb_name), (noun, noun_name) in product(enumerate(VERBS), enumerate(NOUNS))
    if verb_name in _ORDER_OF[noun_name]
)
"""Verb and noun of each action."""


class _Film(NamedTuple):
    video_id: str
    part: str


__all__ = ["SyntheticActions"]


class SyntheticActions(ShortTermDataModule):
    """A small made-up data set of short segments, for the demo, tests and notebooks.

    Args:
        path: HDF5 file made by `anticipate prepare synthetic_actions`.
        **settings: Settings that all short-term data sets share.
    """

    dataset = "synthetic_actions"
    title = "Synthetic actions"
    release = "small invented data set of short-term anticipation"
    measures = "ek100"
    prepare_options = ""

    def __init__(self, path: str = "data/synthetic_actions.h5", **settings: Any) -> None:
        super().__init__(path, **settings)

    @classmethod
    def add_release_options(cls, parser: argparse.ArgumentParser) -> None:
        """Declare the options that only this data set has."""
        parser.add_argument(
            "--videos", type=positive, default=NUM_VIDEOS, help="number of videos (default: 60)"
        )
        parser.add_argument(
            "--segments",
            type=positive,
            default=NUM_SEGMENTS,
            help="segments of a video on average (default: 62)",
        )
        add_streams(parser)
        add_fps(parser)
        parser.set_defaults(feature_dim=FEATURE_DIM)

    @classmethod
    def read_release(cls, options: argparse.Namespace) -> tuple[ShortTermRelease, FeatureSource]:
        """Invent the data set and its features.

        Raises:
            ConfigError: Too few videos for every part.
        """
        release = invent(options.videos, options.segments, options.seed)
        return release, synthesized_segments(release, options)


def invent(
    num_videos: int = NUM_VIDEOS, num_segments: int = NUM_SEGMENTS, seed: int = 0
) -> ShortTermRelease:
    """Make the annotation.

    Args:
        num_videos: Videos of all parts.
        num_segments: Segments of a video on average.
        seed: Seed of everything random.

    Raises:
        ConfigError: Too few videos for every part.
    """
    if num_videos < MIN_VIDEOS:
        raise ConfigError(f"--videos {num_videos} leaves a part empty; use at least {MIN_VIDEOS}")
    films = [_film(number) for number in range(num_videos)]
    tables = {film: _segments(film, num_segments, seed) for film in films}
    parts = {
        part: joined([table for film, table in tables.items() if film.part == part])
        for part in ("train", "validation", "test")
    }
    names = tuple(f"{VERBS[verb]} {NOUNS[noun]}" for verb, noun in PAIRS)
    splits = {"1": parts}
    return ShortTermRelease(
        dataset=SyntheticActions.dataset,
        vocabulary=Vocabulary(names, VERBS, NOUNS, PAIRS),
        videos=labelled_videos(splits, lambda video_id: video_id.partition("_")[0]),
        splits=splits,
        source=f"invented with seed {seed}",
        subsets=validation_subsets(parts["train"], parts["validation"]),
    )


def transcript(num_segments: int, generator: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Yield verb and noun of consecutive actions.

    Args:
        num_segments: Actions to yield.
        generator: Random numbers.
    """
    hands: list[tuple[str, Iterator[str]]] = []
    current = 0
    for _ in range(num_segments):
        while len(hands) < 2:
            noun = _other_thing([noun for noun, _ in hands], generator)
            hands.insert(current, (noun, iter(_ORDER_OF[noun])))
        noun, verbs = hands[current]
        verb = next(verbs)
        yield verb, noun
        if verb == _ORDER_OF[noun][-1]:
            del hands[current]
        if generator.random() < SWITCH:
            current = 1 - current


def validation_subsets(
    train: SegmentTable, validation: SegmentTable
) -> Mapping[str, tuple[str, ...]]:
    """Return the validation segments of unseen cooks and of tail classes, as EPIC-Kitchens-100 has.

    Args:
        train: Training segments, which decide what is rare.
        validation: Segments to choose from.
    """
    cooks = np.array([video_id.partition("_")[0] for video_id in validation.video_ids])
    tail_verb = np.isin(validation.verbs, tail_classes(train.verbs, len(VERBS)))
    tail_noun = np.isin(validation.nouns, tail_classes(train.nouns, len(NOUNS)))
    chosen = {
        "unseen": np.isin(cooks, UNSEEN),
        "tail_verb": tail_verb,
        "tail_noun": tail_noun,
        "tail_action": tail_verb | tail_noun,
    }
    return {
        name: validation.take(np.flatnonzero(rows)).segment_ids for name, rows in chosen.items()
    }


def tail_classes(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the rarest classes that together have at most the share `TAIL` of the segments.

    Args:
        labels: Class of each training segment.
        num_classes: Size of the label space.
    """
    counts = np.bincount(labels, minlength=num_classes)
    rarest = np.argsort(counts, kind="stable")
    return rarest[counts[rarest].cumsum() <= TAIL * len(labels)]


def _film(number: int) -> _Film:
    """Of ten videos eight are for training and one is of a cook who is not in training."""
    round_, position = divmod(number, 10)
    if position == 9:
        cook, part = UNSEEN[round_ % 2], "test" if round_ % 3 == 1 else "validation"
    else:
        cook, part = COOKS[number % 6], "validation" if position == 8 else "train"
    return _Film(f"{cook}_{number:03d}", part)


def _segments(film: _Film, num_segments: int, seed: int) -> SegmentTable:
    generator = seeded_generator(seed, ("actions", film.video_id))
    number = max(2, round(num_segments * generator.uniform(0.8, 1.2)))
    words = list(transcript(number, generator))
    classes = np.array([(VERBS.index(verb), NOUNS.index(noun)) for verb, noun in words])
    actions = [PAIRS.index((verb, noun)) for verb, noun in classes.tolist()]
    starts, stops = _times(number, generator)
    columns = np.stack([starts, stops, *classes.T, actions]).astype(np.int32)
    if film.part == "test":
        columns[2:] = UNKNOWN
    segment_ids = tuple(f"{film.video_id}_{row}" for row in range(number))
    return SegmentTable(segment_ids, (film.video_id,) * number, *columns)


def _times(number: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw first and last frames, 30 per second."""
    lengths = (generator.uniform(*SECONDS, number) * FPS).astype(int)
    gaps = (generator.uniform(0.0, GAP_SECONDS, number) * FPS).astype(int)
    overlaps = generator.random(number) < OVERLAP
    steps = lengths + np.where(overlaps, -gaps.clip(0, FPS // 2), gaps)
    starts = FPS + np.cumsum(steps) - steps
    return starts, starts + lengths - 1


def _other_thing(taken: list[str], generator: np.random.Generator) -> str:
    weights = np.array([0.0 if noun in taken else DECLINE**i for i, noun in enumerate(NOUNS)])
    return NOUNS[int(generator.choice(len(NOUNS), p=weights / weights.sum()))]
