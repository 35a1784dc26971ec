"""Write a release with its features into one data file, reading ahead in threads."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from anticipate.datasets.file.dense_file import DenseWriter, Header
from anticipate.datasets.file.short_term_file import FeatureFormat, ShortTermWriter
from anticipate.datasets.release.releases import (
    DenseRelease,
    FeatureSource,
    LabelledVideo,
    RecordedVideo,
    ShortTermRelease,
)
from anticipate.errors import DataError

Video = TypeVar("Video", LabelledVideo, RecordedVideo)


class Storage(NamedTuple):
    """How and where a data file is written."""

    path: Path
    dtype: Literal["float16", "float32"] = "float32"
    workers: int = 1
    overwrite: bool = False


def write_dense(
    release: DenseRelease, source: FeatureSource, storage: Storage, stride: int = 1
) -> None:
    """Write the data file of a dense release.

    At most one block per worker waits for the writer, so that memory stays small however long the
    videos are; videos are written in the order of the release whatever the number of workers.

    Args:
        release: The annotation.
        source: The features.
        storage: How and where to write.
        stride: Frames from one stored row to the next.

    Raises:
        DataError: The file exists, the disk is full, features are missing or damaged, a label is
            of no class, or a part of a split has no video or one that is not in the release.
    """
    _check_release(release)
    header = Header(
        dataset=release.dataset,
        kind="dense",
        fps=release.fps,
        stride=stride,
        feature_dim=source.feature_dim,
        dtype=storage.dtype,
        synthetic=source.synthetic,
        source=release.source,
        classes=release.classes,
    )
    recipe = _fingerprint(release, source)
    with DenseWriter(storage.path, header, recipe, storage.overwrite) as writer:
        missing = [video for video in release.videos if not writer.has(video.video_id)]
        done = len(release.videos) - len(missing)
        for video, blocks in _streams(release.dataset, missing, source.rows, storage, done):
            writer.add_video(
                video.video_id, video.labels, blocks, video.activity, video.num_feature_frames
            )
        writer.finish(release.splits, {**release.notes, **source.describe()})


def _check_release(release: DenseRelease) -> None:
    """See that labels and splits name what the release has: all else would fail in training."""
    known = {video.video_id for video in release.videos}
    if not known:
        raise DataError(f"{release.source}: no video found, expected at least one")
    for video in release.videos:
        if not 0 <= video.labels.min() <= video.labels.max() < len(release.classes):
            raise DataError(
                f"{release.source}: labels of video '{video.video_id}' are {video.labels.min()} to "
                f"{video.labels.max()}, expected 0 to {len(release.classes) - 1} for "
                f"{len(release.classes)} classes"
            )
    for k, parts in release.splits.items():
        for part, video_ids in parts.items():
            unknown = [video_id for video_id in video_ids if video_id not in known]
            if unknown:
                raise DataError(
                    f"{release.source}: split {k} lists the {part} video '{unknown[0]}', which is "
                    f"not among the {len(known)} videos: correct the list or add the video"
                )
            if not video_ids:
                left_out = {key: n for key, n in release.notes.items() if "without" in key}
                why = "; ".join(f"{n} {key.replace('_', ' ')}" for key, n in left_out.items())
                raise DataError(
                    f"{release.source}: split {k} has no {part} video left"
                    f"{f' ({why}, left out by --allow-missing)' if why else ''}: add their files"
                )


def write_short_term(
    release: ShortTermRelease, source: FeatureSource, storage: Storage, feature_fps: Fraction
) -> None:
    """Write the data file of a short-term release, as `write_dense` does for dense ones.

    Args:
        release: The annotation.
        source: The features.
        storage: How and where to write.
        feature_fps: Rows per second.

    Raises:
        DataError: The file exists, the disk is full, or features are damaged.
    """
    streams = getattr(source, "streams", {})
    features = FeatureFormat(
        feature_fps, source.feature_dim, storage.dtype, source.synthetic, streams
    )
    recipe = _short_term_fingerprint(release, source)
    with ShortTermWriter(storage.path, release, features, recipe, storage.overwrite) as writer:
        missing = [video for video in release.videos if not writer.has(video.video_id)]
        done = len(release.videos) - len(missing)
        for video, blocks in _streams(release.dataset, missing, source.rows, storage, done):
            writer.add_video(video, blocks)
        writer.finish({**release.notes, **source.describe()})


def _streams(
    dataset: str,
    videos: Sequence[Video],
    rows_of: Callable[[Video], Iterator[np.ndarray]],
    storage: Storage,
    num_done: int,
) -> Iterator[tuple[Video, Iterator[np.ndarray]]]:
    """Yield each video with its blocks of features in the stored type, and show how far it is."""
    streams = (_stored(rows_of(video), video.video_id, storage.dtype) for video in videos)
    with _progress() as progress, ThreadPoolExecutor(storage.workers) as pool:
        task = progress.add_task(
            f"preparing {dataset}", total=num_done + len(videos), completed=num_done
        )
        for video, blocks in zip(videos, read_ahead(streams, pool, storage.workers), strict=True):
            yield video, blocks
            progress.advance(task)


def read_ahead(
    streams: Iterable[Iterator[np.ndarray]], pool: ThreadPoolExecutor, workers: int
) -> Iterator[Iterator[np.ndarray]]:
    """Yield the streams in order while the next block of each of the next `workers` is computed.

    Each stream must be drained before the next one is asked for.
    """
    waiting: deque[tuple[Iterator[np.ndarray], Future[np.ndarray | None]]] = deque()
    for stream in streams:
        waiting.append((stream, pool.submit(next, stream, None)))
        if len(waiting) > workers:
            yield _drain(*waiting.popleft(), pool)
    while waiting:
        yield _drain(*waiting.popleft(), pool)


def _drain(
    stream: Iterator[np.ndarray], first: Future[np.ndarray | None], pool: ThreadPoolExecutor
) -> Iterator[np.ndarray]:
    block = first.result()
    while block is not None:
        following = pool.submit(next, stream, None)
        yield block
        block = following.result()


def _stored(
    rows: Iterator[np.ndarray], video_id: str, dtype: Literal["float16", "float32"]
) -> Iterator[np.ndarray]:
    """Convert blocks to the stored type.

    Raises:
        DataError: A value is not finite in that type.
    """
    for block in rows:
        with np.errstate(over="ignore"):
            stored = block.astype(dtype)
        if not np.isfinite(stored).all():
            raise DataError(
                f"features of '{video_id}' reach {np.abs(block).max():.3g}, beyond {dtype}; "
                f"use --dtype float32"
            )
        yield stored


def _fingerprint(release: DenseRelease, source: FeatureSource) -> str:
    digest = hashlib.sha256(repr((source.fingerprint(), release.splits)).encode())
    for video in release.videos:
        digest.update(repr((video.video_id, video.activity, video.num_feature_frames)).encode())
        digest.update(np.ascontiguousarray(video.labels).data)
    return digest.hexdigest()


def _short_term_fingerprint(release: ShortTermRelease, source: FeatureSource) -> str:
    everything = (source.fingerprint(), release.vocabulary, release.videos, release.subsets)
    digest = hashlib.sha256(repr((everything, release.class_subsets)).encode())
    for k, parts in release.splits.items():
        for part, segments in parts.items():
            digest.update(repr((k, part, segments.segment_ids, segments.video_ids)).encode())
            digest.update(np.stack(segments.numbers).data)
    return digest.hexdigest()


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("videos"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
