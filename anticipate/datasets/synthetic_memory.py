"""`anticipate prepare synthetic_memory`: activities that differ in pace alone, to test routing.

All videos show the same cycle of actions. An activity is how long an action lasts: 3, 9 or 27
seconds. How far back a frame still tells of the current action therefore depends on the activity,
and so does the best forget matrix of a scan: what MixANT's router is there to choose.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Int16

from anticipate.datasets.batches.dense_module import DenseDataModule
from anticipate.datasets.release.options import add_stride, positive
from anticipate.datasets.release.releases import DenseRelease, FeatureSource, LabelledVideo
from anticipate.datasets.release.synthesis import seeded_generator, synthesized
from anticipate.errors import ConfigError

FPS = 10.0
FEATURE_DIM = 64
NUM_PERSONS = 80
NUM_CLASSES = 8
MEDIAN_SECONDS = {"fast": 3.0, "medium": 9.0, "slow": 27.0}
"""Median length of an action in each activity."""
DURATION_SPREAD = 0.3
"""Standard deviation of the logarithm of that length."""
VIDEO_SECONDS = (90.0, 150.0)
"""Shortest and longest video."""
SKIP = 0.1
"""Probability that an action of the cycle is left out."""

__all__ = ["SyntheticMemory"]


class SyntheticMemory(DenseDataModule):
    """A small made-up data set whose activities need different memory.

    Args:
        path: HDF5 file made by `anticipate prepare synthetic_memory`.
        sample_rate: Frames per token; 10 is one token per second. A multiple of the file's stride.
        **settings: Settings that all dense data sets share.
    """

    dataset = "synthetic_memory"
    title = "Synthetic memory"
    release = "small invented data set whose activities need different memory"
    prepare_options = ""

    def __init__(
        self, path: str = "data/synthetic_memory.h5", sample_rate: int = 10, **settings: Any
    ) -> None:
        super().__init__(path, sample_rate, **settings)

    @staticmethod
    def group_of(video_id: str) -> str:
        """Return the person, by whom the split is made: the part of the id before the first `_`.

        Args:
            video_id: Video of this data set.
        """
        return video_id.split("_")[0]

    @classmethod
    def add_release_options(cls, parser: argparse.ArgumentParser) -> None:
        """Declare the options that only this data set has."""
        parser.add_argument(
            "--persons",
            type=positive,
            default=NUM_PERSONS,
            help="persons, each with a video of every activity (default: %(default)s)",
        )
        add_stride(parser)
        parser.set_defaults(feature_dim=FEATURE_DIM)

    @classmethod
    def read_release(cls, options: argparse.Namespace) -> tuple[DenseRelease, FeatureSource]:
        """Invent the data set and its features; every fourth person is one of the test.

        Raises:
            ConfigError: A single person, who cannot be in both parts.
        """
        release = invent(options.persons, options.seed)
        return release, synthesized(release, options)


def invent(num_persons: int, seed: int = 0) -> DenseRelease:
    """Make labels and the split of three videos per person."""
    if num_persons < 2:
        raise ConfigError(f"--persons {num_persons} leaves a part empty; use at least 2")
    videos = tuple(
        LabelledVideo(name, labels, activity, len(labels))
        for person in range(num_persons)
        for activity in MEDIAN_SECONDS
        for name in [f"P{person + 1:02d}_{activity}"]
        for labels in [_cycle(activity, seeded_generator(seed, ("cycle", name)))]
    )
    parts: dict[str, list[str]] = {"train": [], "test": []}
    for video in videos:
        person = int(video.video_id.partition("_")[0][1:]) - 1
        parts["test" if person % 4 == 0 else "train"].append(video.video_id)
    classes = tuple(f"action_{label}" for label in range(NUM_CLASSES))
    return DenseRelease(
        SyntheticMemory.dataset, FPS, classes, videos, {"1": parts}, f"invented with seed {seed}"
    )


def _cycle(activity: str, generator: np.random.Generator) -> Int16[np.ndarray, " frames"]:
    """Draw the labels of a video, which starts anywhere in the cycle."""
    num_frames = round(generator.uniform(*VIDEO_SECONDS) * FPS)
    pieces = list(_actions(MEDIAN_SECONDS[activity], num_frames, generator))
    return np.concatenate(pieces)[:num_frames]


def _actions(
    seconds: float, num_frames: int, generator: np.random.Generator
) -> Iterator[Int16[np.ndarray, " frames"]]:
    label, made = int(generator.integers(NUM_CLASSES)), 0
    while made < num_frames:
        length = max(1, round(seconds * generator.lognormal(0.0, DURATION_SPREAD) * FPS))
        yield np.full(length, label, dtype=np.int16)
        made += length
        label = (label + 1 + int(generator.random() < SKIP)) % NUM_CLASSES
