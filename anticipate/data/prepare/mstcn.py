"""Breakfast and 50Salads in the layout that MS-TCN made common.

`mapping.txt` (id and name per line), `groundTruth/<video>.txt` (one name per frame),
`splits/{train,test}.split<k>.bundle` (one label file name per line) and `features/<video>.npy`
(feature width x frames).
"""

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16

from anticipate.console import notice
from anticipate.data.prepare.lines import check_unique, read_lines
from anticipate.data.prepare.matching import match_features
from anticipate.data.prepare.options import add_release_options
from anticipate.data.prepare.release import FeatureSource, LabelledVideo, Release
from anticipate.data.prepare.synthesis import synthesized
from anticipate.errors import DataError

_BUNDLE = re.compile(r"(train|test)\.split(\d+)\.bundle")


class Published(NamedTuple):
    """Facts of a published release."""

    fps: float
    num_videos: int
    num_classes: int
    split_sizes: Mapping[str, tuple[int, int]]
    """Training and test videos of each split."""
    activity: Callable[[str], str]
    """Activity of a video, from its id."""


PUBLISHED = {
    "breakfast": Published(
        fps=15.0,
        num_videos=1712,
        num_classes=48,
        split_sizes={"1": (1460, 252), "2": (1261, 451), "3": (1279, 433), "4": (1136, 576)},
        activity=lambda video_id: video_id.rpartition("_")[2],
    ),
    "50salads": Published(
        fps=30.0,
        num_videos=50,
        num_classes=19,
        split_sizes={str(k): (40, 10) for k in range(1, 6)},
        activity=lambda _: "salad",
    ),
}

add_arguments = add_release_options


def prepare(arguments: argparse.Namespace) -> tuple[Release, FeatureSource]:
    """Read a release and find its features.

    Raises:
        DataError: A file is missing, damaged or does not fit the others.
    """
    release = read_release(arguments.dataset, arguments.source, arguments.allow_missing)
    if arguments.synthesize_features:
        return release, synthesized(release, arguments)
    folder = arguments.features or arguments.source / "features"
    return match_features(
        release, folder, arguments.feature_dim, arguments.stride, arguments.allow_missing
    )


def read_release(dataset: str, source: Path, allow_missing: bool = False) -> Release:
    """Read vocabulary, splits and labels of all videos that the splits name.

    Raises:
        DataError: A file is missing, empty, or holds an unknown or repeated name.
    """
    published = PUBLISHED[dataset]
    vocabulary = read_vocabulary(source / "mapping.txt")
    splits, first_named = read_splits(source / "splits")
    videos, missing = [], set()
    for video_id, where in sorted(first_named.items()):
        path = source / "groundTruth" / f"{video_id}.txt"
        if path.exists():
            labels = read_labels(path, vocabulary)
            activity = published.activity(video_id)
            videos.append(LabelledVideo(video_id, labels, activity, len(labels)))
        elif allow_missing:
            missing.add(video_id)
        else:
            raise DataError(f"{where}: label file {path} is missing; or use --allow-missing")
    notes = {"videos_without_labels": len(missing)} if missing else {}
    if missing:
        notice(f"{source}: {len(missing)} videos without a label file are left out")
    release = Release(
        dataset=dataset,
        fps=published.fps,
        classes=tuple(vocabulary),
        videos=tuple(videos),
        splits=splits,
        source=str(source.resolve()),
        notes=notes,
    ).without(missing)
    _compare(release, published)
    return release


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read `mapping.txt`: lines of id and name, ids in order from 0.

    Raises:
        DataError: A line is malformed, out of order or repeats a name.
    """
    lines = read_lines(path, "one 'id name' per line")
    for number, line in enumerate(lines, start=1):
        if len(line.split()) != 2 or line.split()[0] != str(number - 1):
            raise DataError(f"{path}:{number}: found '{line}', expected '{number - 1} NAME'")
    names = [line.split()[1] for line in lines]
    check_unique(names, path)
    return {name: label for label, name in enumerate(names)}


def read_labels(path: Path, vocabulary: Mapping[str, int]) -> Int16[np.ndarray, " frames"]:
    """Read one label name per frame.

    Raises:
        DataError: The file is empty or names an unknown label.
    """
    names = read_lines(path, "one label per frame")
    labels = [vocabulary.get(name, -1) for name in names]
    if -1 in labels:
        line = labels.index(-1)
        raise DataError(f"{path}:{line + 1}: unknown label '{names[line]}', not in mapping.txt")
    return np.array(labels, np.int16)


def read_splits(folder: Path) -> tuple[dict[str, dict[str, list[str]]], dict[str, str]]:
    """Read all bundles of a folder; other files are not looked at.

    Returns:
        Video ids of each part of each split, and the `file:line` that names each video first.

    Raises:
        DataError: No bundles, an incomplete split or a video twice in one split.
    """
    splits: dict[str, dict[str, list[str]]] = {}
    first_named: dict[str, str] = {}
    for path in sorted(folder.glob("*.bundle")):
        match = _BUNDLE.fullmatch(path.name)
        if match is None:
            raise DataError(f"{path}: expected a name like train.split1.bundle")
        video_ids = [line.removesuffix(".txt") for line in read_lines(path, "one file per line")]
        check_unique(video_ids, path)
        splits.setdefault(match[2], {})[match[1]] = video_ids
        for line, video_id in enumerate(video_ids, start=1):
            first_named.setdefault(video_id, f"{path}:{line}")
    if not splits:
        raise DataError(f"{folder}: holds no bundles, expected train.split1.bundle and so on")
    for k, parts in splits.items():
        _check_split(k, parts, folder)
    return dict(sorted(splits.items())), first_named


def _check_split(k: str, parts: Mapping[str, list[str]], folder: Path) -> None:
    if len(parts) != 2:
        raise DataError(f"{folder}: split {k} has only {', '.join(parts)}, expected train and test")
    both = sorted(set(parts["train"]) & set(parts["test"]))
    if both:
        raise DataError(f"{folder}: '{both[0]}' is in train and in test of split {k}")


def _compare(release: Release, published: Published) -> None:
    """Tell where the counts differ from the published ones."""
    sizes = {k: (len(parts["train"]), len(parts["test"])) for k, parts in release.splits.items()}
    for what, found, expected in (
        ("videos", len(release.videos), published.num_videos),
        ("classes", len(release.classes), published.num_classes),
        ("videos (train, test) per split", sizes, dict(published.split_sizes)),
    ):
        if found != expected:
            notice(f"{release.dataset}: {found} {what}, the published release has {expected}")
