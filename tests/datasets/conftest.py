"""Tiny data files whose features tell their own frame."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from anticipate.datasets.file.dense_file import DenseStore, DenseWriter, Header
from anticipate.datasets.file.segment_table import SegmentTable
from anticipate.datasets.file.short_term_file import (
    FeatureFormat,
    ShortTermStore,
    ShortTermWriter,
    count_rows,
    frames_of_rows,
)
from anticipate.datasets.release.releases import (
    ShortTermRelease,
    Vocabulary,
    labelled_videos,
)

FEATURE_DIM = 3
CLASSES = tuple(f"class_{number}" for number in range(7))


def write_tiny(
    path: Path,
    train: Mapping[str, int],
    test: Mapping[str, int],
    dataset: str = "breakfast",
    stride: int = 1,
    num_feature_frames: Mapping[str, int] | None = None,
) -> DenseStore:
    """Write videos of given lengths; features of frame f are f, labels change every 4 frames."""
    header = Header(dataset, "dense", 15, stride, FEATURE_DIM, "float32", True, "made up", CLASSES)
    with DenseWriter(path, header, recipe="tiny") as writer:
        for number, (video_id, num_frames) in enumerate({**train, **test}.items()):
            covered = (num_feature_frames or {}).get(video_id, num_frames)
            rows = np.repeat(np.arange(0, covered, stride)[:, None], FEATURE_DIM, axis=1)
            labels = (np.arange(num_frames) // 4 + number) % len(CLASSES)
            writer.add_video(video_id, labels, [rows], "cereals", covered)
        writer.finish({"1": {"train": list(train), "test": list(test)}}, notes={})
    return DenseStore(path)


@pytest.fixture
def tiny_store(tmp_path: Path) -> Callable[..., DenseStore]:
    """Return a function that writes a tiny data file, given the lengths of its videos."""

    def make(
        train: Mapping[str, int], test: Mapping[str, int] | None = None, **options: object
    ) -> DenseStore:
        return write_tiny(tmp_path / "tiny.h5", train, test or {}, **options)

    return make


def rows_table(rows: Sequence[tuple[str, int, int, int]], first_id: int = 0) -> SegmentTable:
    """Make segments of (video, start, stop, action); verb and noun are the action."""
    videos, starts, stops, actions = zip(*rows, strict=True) if rows else [()] * 4
    columns = (np.array(column, np.int32) for column in (starts, stops, *[actions] * 3))
    ids = tuple(f"{video}_{first_id + i}" for i, video in enumerate(videos))
    return SegmentTable(ids, tuple(videos), *columns)


def write_clips(
    path: Path,
    train: Sequence[tuple[str, int, int, int]],
    validation: Sequence[tuple[str, int, int, int]],
    test: Sequence[tuple[str, int, int, int]] = (),
    dataset: str = "ek100",
    feature_fps: str = "4",
    num_actions: int = 5,
    **options: object,
) -> ShortTermStore:
    """Write segments of (video, start, stop, action); each feature is the number of its frame."""
    rate = Fraction(feature_fps)
    names = tuple(f"verb_{i} noun_{i}" for i in range(num_actions))
    verbs, nouns = zip(*(name.split() for name in names), strict=True)
    vocabulary = Vocabulary(names, verbs, nouns, tuple((i, i) for i in range(num_actions)))
    parts = {
        "train": rows_table(train),
        "validation": rows_table(validation, 1000),
        "test": rows_table([(*row[:3], -1) for row in test], 2000),
    }
    videos = labelled_videos({"1": parts}, lambda video_id: video_id[:3])
    release = ShortTermRelease(dataset, vocabulary, videos, {"1": parts}, "made up", **options)
    features = FeatureFormat(rate, FEATURE_DIM, "float32", True)
    with ShortTermWriter(path, release, features, recipe="clips", overwrite=True) as writer:
        for video in videos:
            frames = frames_of_rows(count_rows(video.num_frames, 30, rate), 30, rate)
            writer.add_video(video, [np.repeat(frames[:, None], FEATURE_DIM, axis=1)])
        writer.finish({"made": "up"})
    return ShortTermStore(path)


@pytest.fixture(scope="session")
def clip_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ShortTermStore]:
    """Return a function that writes a short-term data file; each call makes a new one."""
    folder = tmp_path_factory.mktemp("clips")

    def make(*parts: object, **options: object) -> ShortTermStore:
        return write_clips(folder / f"{uuid.uuid4()}.h5", *parts, **options)

    return make


@pytest.fixture(scope="session")
def segments() -> Callable[..., SegmentTable]:
    """Return a function that makes segments of (video, start, stop, action)."""
    return rows_table
