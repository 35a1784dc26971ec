"""Breakfast and 50Salads in the layout that MS-TCN made common.

`mapping.txt` (id and name per line), `groundTruth/<video>.txt` (one name per frame),
`splits/{train,test}.split<k>.bundle` (one label file name per line) and `features/<video>.npy`
(feature width x frames).
"""

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16

from anticipate.console import notice
from anticipate.datasets.release.arrays import (
    ArrayFeatures,
    ArrayFile,
    ArraySlice,
    Layout,
    array_files,
)
from anticipate.datasets.release.releases import DenseRelease, FeatureSource, LabelledVideo
from anticipate.datasets.release.synthesis import synthesized
from anticipate.datasets.release.text_files import check_unique, read_lines
from anticipate.errors import DataError
from anticipate.files import check_name

_BUNDLE = re.compile(r"(train|test)\.split(\d+)\.bundle")


class Published(NamedTuple):
    """Facts of a published release."""

    fps: float
    num_videos: int
    num_classes: int
    split_sizes: Mapping[str, tuple[int, int]]
    """Training and test videos of each split."""


def read_with_features(
    dataset: str,
    published: Published,
    activity_of: Callable[[str], str],
    options: argparse.Namespace,
) -> tuple[DenseRelease, FeatureSource]:
    """Read a release and find its features.

    Args:
        dataset: Name of the data set.
        published: What the published release holds.
        activity_of: Names the activity of a video, from its id.
        options: What `anticipate prepare` was called with.

    Raises:
        DataError: A file is missing, damaged or does not fit the others.
    """
    release = read_annotation(
        dataset, published, activity_of, options.source, options.allow_missing
    )
    if options.synthesize_features:
        return release, synthesized(release, options)
    folder = options.features or options.source / "features"
    return match_features(
        release,
        folder,
        options.feature_dim,
        options.stride,
        options.allow_missing,
        options.layout,
    )


def read_annotation(
    dataset: str,
    published: Published,
    activity_of: Callable[[str], str],
    source: Path,
    allow_missing: bool = False,
) -> DenseRelease:
    """Read vocabulary, splits and labels of all videos that the splits name.

    Raises:
        DataError: A file is missing, empty, or holds an unknown or repeated name.
    """
    vocabulary = read_vocabulary(source / "mapping.txt")
    splits, first_named = read_splits(source / "splits")
    videos, missing = [], set()
    for video_id, where in sorted(first_named.items()):
        path = source / "groundTruth" / f"{video_id}.txt"
        if path.exists():
            labels = read_labels(path, vocabulary)
            activity = activity_of(video_id)
            videos.append(LabelledVideo(video_id, labels, activity, len(labels)))
        elif allow_missing:
            missing.add(video_id)
        else:
            raise DataError(f"{where}: label file {path} is missing; or use --allow-missing")
    notes = {"videos_without_labels": len(missing)} if missing else {}
    if missing:
        notice(f"{source}: {len(missing)} videos without a label file are left out")
    release = DenseRelease(
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
        for line, video_id in enumerate(video_ids, start=1):
            check_name(video_id, f"{path}:{line}: the id of a video", DataError)
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


def _compare(release: DenseRelease, published: Published) -> None:
    """Tell where the counts differ from the published ones."""
    sizes = {k: (len(parts["train"]), len(parts["test"])) for k, parts in release.splits.items()}
    for what, found, expected in (
        ("videos", len(release.videos), published.num_videos),
        ("classes", len(release.classes), published.num_classes),
        ("videos (train, test) per split", sizes, dict(published.split_sizes)),
    ):
        if found != expected:
            notice(f"{release.dataset}: {found} {what}, the published release has {expected}")


MAX_LENGTH_DIFFERENCE = 21
"""Frames by which labels and features may differ; the longer is cut.

One window of the I3D network: an extractor that drops incomplete windows loses no more.
"""


def match_features(
    release: DenseRelease,
    folder: Path,
    feature_dim: int,
    stride: int,
    allow_missing: bool,
    layout: Layout | None = None,
) -> tuple[DenseRelease, ArrayFeatures]:
    """Find `<video>.npy` of every video and cut the longer of labels and features.

    Returns:
        The release with labels and features of equal length, and the features.

    Raises:
        DataError: A file is missing, damaged, of another width or of quite another length.
    """
    paths = {video.video_id: folder / f"{video.video_id}.npy" for video in release.videos}
    missing = {name for name, path in paths.items() if allow_missing and not path.exists()}
    present = release.without(missing)
    chosen = {video.video_id: paths[video.video_id] for video in present.videos}
    files = array_files(chosen, feature_dim, layout)
    videos = tuple(_cut(video, files[video.video_id]) for video in present.videos)
    cuts = [
        abs(len(video.labels) - files[video.video_id].num_frames)
        for video in present.videos
        if len(video.labels) != files[video.video_id].num_frames
    ]
    notes = tell_mended(folder, len(missing), files.values(), cuts)
    slices = {name: ArraySlice(file) for name, file in files.items()}
    return present.mended(videos, notes), ArrayFeatures(slices, feature_dim, stride)


def _cut(video: LabelledVideo, file: ArrayFile) -> LabelledVideo:
    """Return the video with the frames that have both a label and features."""
    num_frames = min(len(video.labels), file.num_frames)
    if max(len(video.labels), file.num_frames) - num_frames > MAX_LENGTH_DIFFERENCE:
        raise DataError(
            f"{file.path}: {file.num_frames} frames of features, but '{video.video_id}' has "
            f"{len(video.labels)} labels; a difference of at most {MAX_LENGTH_DIFFERENCE} is cut"
        )
    return video._replace(labels=video.labels[:num_frames], num_feature_frames=num_frames)


def tell_mended(
    folder: Path, num_missing: int, files: Iterable[ArrayFile], cuts: Sequence[int] = ()
) -> dict[str, int]:
    """Give notice of what was left out, turned and cut, and return it as notes of the data file.

    Args:
        folder: Folder of the features.
        num_missing: Videos without features.
        files: The feature files, if there are any.
        cuts: Frames cut from each video that was cut.
    """
    notes = {}
    num_turned = sum(file.turned for file in files)
    if num_missing:
        notes["videos_without_features"] = num_missing
        notice(f"{folder}: {num_missing} videos without features are left out")
    if num_turned:
        notes["feature_files_turned"] = num_turned
        notice(
            f"{folder}: {num_turned} files are frames x features, not features x frames; transposed"
        )
    if cuts:
        notes["videos_cut"] = len(cuts)
        notes["most_frames_cut"] = max(cuts)
        notice(
            f"{folder}: in {len(cuts)} videos labels and features differ by up to {max(cuts)} "
            "frames; the longer ones are cut"
        )
    return notes
