"""`anticipate prepare synthetic`: a small complete data set of invented kitchen videos.

Six activities are written as recipes. What a step needs may lie many steps back (sugar that was
fetched at the start is stirred in at the end), the order inside a step varies and a person is slow
or fast throughout, so that the future depends on more than the last two actions.
"""

import argparse
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from anticipate.datasets.batches.dense_module import DenseDataModule
from anticipate.datasets.release.options import add_stride
from anticipate.datasets.release.releases import DenseRelease, FeatureSource, LabelledVideo
from anticipate.datasets.release.synthesis import seeded_generator, synthesized
from anticipate.errors import ConfigError

FPS = 10.0
FEATURE_DIM = 64
NUM_VIDEOS = 400
NUM_SPLITS = 2
CAMERAS = ("cam01", "cam02")

MEDIAN_SECONDS = {
    "background": 3.0,
    "take_cup": 4.0,
    "take_bowl": 4.0,
    "take_plate": 4.0,
    "fetch_sugar": 4.5,
    "fetch_fruit": 4.5,
    "boil_water": 13.5,
    "add_teabag": 4.5,
    "brew_coffee": 15.0,
    "pour_water": 6.0,
    "pour_milk": 6.0,
    "add_sugar": 4.5,
    "stir": 9.0,
    "pour_cereals": 7.5,
    "cut_fruit": 15.0,
    "cut_bread": 9.0,
    "spread_butter": 10.5,
    "crack_egg": 7.5,
    "fry": 21.0,
    "serve": 6.0,
}
"""Median length of a segment of each class."""

CLASSES = tuple(MEDIAN_SECONDS)
"""Class names; the position is the label id."""

DURATION_SPREAD = 0.35
"""Standard deviation of the logarithm of a segment's length."""
TEMPO_SPREAD = 0.2
"""The same for the tempo of a performance, which holds for the whole video."""
MAX_SHIFT = 10
"""Frames by which a camera may start later than the first."""


class Step(NamedTuple):
    """Part of a recipe: actions that occur together.

    Attributes:
        actions: Names of the actions.
        chance: Probability that the step occurs.
        needs: Earlier action without which the step is left out.
        any_order: Whether the order of the actions varies.
    """

    actions: tuple[str, ...]
    chance: float = 1.0
    needs: str | None = None
    any_order: bool = False


RECIPES = {
    "tea": (
        Step(("take_cup",)),
        Step(("fetch_sugar",), chance=0.5),
        Step(("boil_water",)),
        Step(("add_teabag", "pour_water"), any_order=True),
        Step(("pour_milk",), chance=0.3),
        Step(("add_sugar", "stir"), needs="fetch_sugar"),
    ),
    "coffee": (
        Step(("fetch_sugar",), chance=0.5),
        Step(("take_cup",)),
        Step(("brew_coffee",)),
        Step(("pour_milk",), chance=0.6),
        Step(("add_sugar",), needs="fetch_sugar"),
        Step(("stir",), chance=0.7),
    ),
    "cereals": (
        Step(("fetch_fruit",), chance=0.5),
        Step(("take_bowl",)),
        Step(("pour_cereals", "pour_milk"), any_order=True),
        Step(("stir",), chance=0.6),
        Step(("cut_fruit", "serve"), needs="fetch_fruit"),
    ),
    "fruit_salad": (
        Step(("take_bowl", "fetch_fruit"), any_order=True),
        Step(("fetch_sugar",), chance=0.5),
        Step(("cut_fruit",)),
        Step(("cut_fruit",), chance=0.5),
        Step(("add_sugar",), needs="fetch_sugar"),
        Step(("stir", "serve")),
    ),
    "sandwich": (
        Step(("take_plate",), chance=0.6),
        Step(("cut_bread", "spread_butter")),
        Step(("crack_egg", "fry"), chance=0.4),
        Step(("cut_bread",)),
        Step(("serve",), needs="take_plate"),
    ),
    "pancake": (
        Step(("fetch_fruit",), chance=0.5),
        Step(("take_bowl",)),
        Step(("crack_egg", "pour_milk"), any_order=True),
        Step(("stir", "fry")),
        Step(("fry",), chance=0.4),
        Step(("take_plate", "serve")),
        Step(("cut_fruit",), needs="fetch_fruit"),
    ),
}

__all__ = ["Synthetic"]


class Synthetic(DenseDataModule):
    """A small made-up data set with an action grammar, for the demo, tests and notebooks.

    Args:
        path: HDF5 file made by `anticipate prepare synthetic`.
        sample_rate: Frames per token; 10 is one token per second. A multiple of the file's stride.
        **settings: Settings that all dense data sets share.
    """

    dataset = "synthetic"
    title = "Synthetic videos"
    release = "small invented data set for the demo"
    prepare_options = ""

    def __init__(
        self, path: str = "data/synthetic.h5", sample_rate: int = 10, **settings: Any
    ) -> None:
        super().__init__(path, sample_rate, **settings)

    @staticmethod
    def group_of(video_id: str) -> str:
        """Return the person, by whom the splits are made: the part of the id before the first `_`.

        Args:
            video_id: Video of the synthetic data set.
        """
        return video_id.split("_")[0]

    @classmethod
    def add_release_options(cls, parser: argparse.ArgumentParser) -> None:
        """Declare the options that only this data set has."""
        parser.add_argument(
            "--videos", type=int, default=NUM_VIDEOS, help="number of videos (default: %(default)s)"
        )
        add_stride(parser)
        parser.set_defaults(feature_dim=FEATURE_DIM)

    @classmethod
    def read_release(cls, options: argparse.Namespace) -> tuple[DenseRelease, FeatureSource]:
        """Invent the data set and its features.

        Raises:
            ConfigError: Too few videos for every part of every split.
        """
        release = invent(options.videos, options.seed)
        return release, synthesized(release, options)


def invent(num_videos: int, seed: int = 0) -> DenseRelease:
    """Make labels and splits of `num_videos` videos; all cameras of a person are in one part."""
    smallest = NUM_SPLITS * len(CAMERAS)
    if num_videos < smallest:
        raise ConfigError(f"--videos {num_videos} leaves a split empty; use at least {smallest}")
    num_persons = max(NUM_SPLITS, math.ceil(num_videos / (len(RECIPES) * len(CAMERAS))))
    videos = tuple(
        video
        for activity in RECIPES
        for person in range(num_persons)
        for video in _performance(person, activity, seed)
    )[:num_videos]
    splits = {str(k + 1): _split(k, videos) for k in range(NUM_SPLITS)}
    return DenseRelease(
        Synthetic.dataset, FPS, CLASSES, videos, splits, f"invented with seed {seed}"
    )


def transcript(activity: str, generator: np.random.Generator) -> list[str]:
    """Draw the actions of one performance from the recipe of its activity."""
    actions: list[str] = []
    for step in RECIPES[activity]:
        occurs = generator.random() < step.chance
        order = generator.permutation(len(step.actions))
        if occurs and (step.needs is None or step.needs in actions):
            chosen = order if step.any_order else range(len(step.actions))
            actions += [step.actions[i] for i in chosen]
    return actions


def _performance(person: int, activity: str, seed: int) -> Iterator[LabelledVideo]:
    """Film one performance with every camera."""
    name = f"P{person + 1:02d}"
    generator = seeded_generator(seed, ("performance", name, activity))
    tempo = generator.lognormal(0.0, TEMPO_SPREAD)
    actions = ["background", *transcript(activity, generator), "background"]
    lengths = [_num_frames(action, tempo, generator) for action in actions]
    frames = np.repeat([CLASSES.index(action) for action in actions], lengths).astype(np.int16)
    for camera in CAMERAS:
        shift = 0 if camera == CAMERAS[0] else int(generator.integers(1, MAX_SHIFT + 1))
        labels = frames[shift:]
        yield LabelledVideo(f"{name}_{camera}_{activity}", labels, activity, len(labels))


def _num_frames(action: str, tempo: float, generator: np.random.Generator) -> int:
    seconds = MEDIAN_SECONDS[action] * tempo * generator.lognormal(0.0, DURATION_SPREAD)
    return max(MAX_SHIFT + 1, round(seconds * FPS))


def _split(k: int, videos: tuple[LabelledVideo, ...]) -> dict[str, list[str]]:
    """Hold out every fourth person from person k on."""
    parts: dict[str, list[str]] = {"train": [], "test": []}
    for video in videos:
        person = int(video.video_id.partition("_")[0][1:]) - 1
        parts["test" if person % 4 == k else "train"].append(video.video_id)
    return parts
