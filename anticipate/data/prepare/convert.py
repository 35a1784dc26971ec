"""Write a release with its features into one data file, reading ahead in threads."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from anticipate.data.prepare.release import FeatureSource, LabelledVideo, Release
from anticipate.data.prepare.writer import Header, StoreWriter
from anticipate.errors import DataError


class Storage(NamedTuple):
    """How and where a data file is written."""

    path: Path
    dtype: Literal["float16", "float32"] = "float32"
    stride: int = 1
    workers: int = 1
    overwrite: bool = False


def write_release(release: Release, source: FeatureSource, storage: Storage) -> None:
    """Write the data file of a release.

    At most one block per worker waits for the writer, so that memory stays small however long the
    videos are; videos are written in the order of the release whatever the number of workers.

    Raises:
        DataError: The file exists, the disk is full, or features are missing or damaged.
    """
    header = Header(
        dataset=release.dataset,
        kind="dense",
        fps=release.fps,
        stride=storage.stride,
        feature_dim=source.feature_dim,
        dtype=storage.dtype,
        synthetic=source.synthetic,
        source=release.source,
        classes=release.classes,
    )
    recipe = _fingerprint(release, source)
    with StoreWriter(storage.path, header, recipe, storage.overwrite) as writer:
        missing = [video for video in release.videos if not writer.has(video.video_id)]
        streams = (_stored(source, video, storage.dtype) for video in missing)
        with _progress() as progress, ThreadPoolExecutor(storage.workers) as pool:
            task = progress.add_task(
                f"preparing {release.dataset}",
                total=len(release.videos),
                completed=len(release.videos) - len(missing),
            )
            ready = read_ahead(streams, pool, storage.workers)
            for video, blocks in zip(missing, ready, strict=True):
                writer.add_video(
                    video.video_id, video.labels, blocks, video.activity, video.num_feature_frames
                )
                progress.advance(task)
        writer.finish(release.splits, {**release.notes, **source.describe()})


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
    source: FeatureSource, video: LabelledVideo, dtype: Literal["float16", "float32"]
) -> Iterator[np.ndarray]:
    """Convert blocks to the stored type.

    Raises:
        DataError: A value is not finite in that type.
    """
    for block in source.rows(video):
        with np.errstate(over="ignore"):
            stored = block.astype(dtype)
        if not np.isfinite(stored).all():
            raise DataError(
                f"features of '{video.video_id}' reach {np.abs(block).max():.3g}, beyond {dtype}; "
                f"use --dtype float32"
            )
        yield stored


def _fingerprint(release: Release, source: FeatureSource) -> str:
    digest = hashlib.sha256(repr((source.fingerprint(), release.splits)).encode())
    for video in release.videos:
        digest.update(repr((video.video_id, video.activity, video.num_feature_frames)).encode())
        digest.update(np.ascontiguousarray(video.labels).data)
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
