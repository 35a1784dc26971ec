"""`StoreWriter` writes a data file: under a temporary name, resumable, with checksums.

The layout is tabulated in CONTRIBUTING.md and read by `anticipate.data.store.FeatureStore`.
"""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import h5py
import numpy as np
from jaxtyping import Integer

from anticipate import __version__
from anticipate.console import notice
from anticipate.data.store import FORMAT, FORMAT_VERSION
from anticipate.errors import DataError

_PAGE = (
    4096  # arrays start at page borders: a row of 2048 float16 values is one page of a mapped file
)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

Splits = Mapping[str, Mapping[str, Sequence[str]]]
"""Video ids of each part of each split."""


class Header(NamedTuple):
    """What a data file says about itself; the fields are its root attributes and `/classes`."""

    dataset: str
    kind: str
    fps: float
    stride: int
    feature_dim: int
    dtype: Literal["float16", "float32"]
    synthetic: bool
    source: str
    classes: tuple[str, ...]


class StoreWriter:
    """Write one data file; use it as a context manager and end with `finish`.

    Everything goes to `<path>.partial`. After Ctrl-C this file stays, and a writer with the same
    header and recipe continues it; after any other failure it is removed. Nothing incomplete ever
    has the final name.

    Args:
        path: The file to make.
        header: What the file says about itself.
        recipe: Fingerprint of everything else that decides the content, e.g. of the label files.
        overwrite: Replace an existing file.

    Raises:
        DataError: The file exists already, another process writes it, or the disk is full.
    """

    def __init__(
        self, path: str | Path, header: Header, recipe: str, overwrite: bool = False
    ) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ".partial")
        self._header = header
        self._recipe = hashlib.sha256(repr((__version__, header, recipe)).encode()).hexdigest()
        self._labels: dict[str, h5py.Dataset] = {}
        if self.path.exists() and not overwrite:
            raise DataError(f"{self.path}: exists already; replace it with --force")

    def __enter__(self) -> "StoreWriter":
        with self._writing():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._resume() or self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            return
        with contextlib.suppress(OSError, RuntimeError):  # the first error is the one to tell
            if kind is KeyboardInterrupt:
                self._suspend()
                return
        with contextlib.suppress(OSError, RuntimeError):
            self._file.close()
        self.partial.unlink(missing_ok=True)

    def has(self, video_id: str) -> bool:
        """Return whether a video is already written."""
        return _is_complete(self._file["videos"].get(video_id))

    def add_video(
        self,
        video_id: str,
        labels: Integer[np.ndarray, " frames"],
        features: Iterable[np.ndarray],
        activity: str,
        num_feature_frames: int | None = None,
    ) -> None:
        """Write one video.

        Args:
            video_id: Name of the video.
            labels: Class id of every frame.
            features: Blocks of consecutive feature rows of frames 0, stride, 2 stride .. below
                `num_feature_frames`.
            activity: What the video shows.
            num_feature_frames: Frames that have features, all when None; rows beyond are zeros.
        """
        num_frames = len(labels)
        covered = num_frames if num_feature_frames is None else num_feature_frames
        with self._writing():
            video = self._file["videos"].create_group(video_id)
            video.attrs["activity"] = activity
            self._write_labels(video, np.ascontiguousarray(labels, "<i2"))
        rows = -(-num_frames // self._header.stride)
        self._write_features(video, features, rows, covered=-(-covered // self._header.stride))
        with self._writing():
            video.attrs["num_feature_frames"] = covered  # last: marks the video complete

    def finish(self, splits: Splits, notes: Mapping[str, Any]) -> None:
        """Complete the file and give it its final name.

        Args:
            splits: Video ids of each part of each split.
            notes: What was counted, cut, turned; stored as JSON.
        """
        with self._writing():
            for k, parts in splits.items():
                split = self._file["splits"].create_group(k, track_order=True)
                for part, video_ids in parts.items():
                    _write_text(split, part, video_ids)
            self._file.attrs["notes"] = json.dumps(notes)
            del self._file.attrs["recipe"], self._file.attrs["closed"]
            self._file.attrs["format_version"] = FORMAT_VERSION
            self._file.attrs["format"] = FORMAT
            self._file.close()
            _sync(self.partial)
            self.partial.replace(self.path)

    def _start(self) -> h5py.File:
        self.partial.unlink(missing_ok=True)
        file = h5py.File(self.partial, "w", alignment_threshold=_PAGE, alignment_interval=_PAGE)
        self._file = file
        file.attrs["recipe"] = self._recipe
        file.attrs["closed"] = False
        file.attrs["created_by"] = f"anticipate {__version__}"
        for name, value in self._header._asdict().items():
            if name != "classes":
                file.attrs[name] = value
        _write_text(file, "classes", self._header.classes)
        file.create_group("splits", track_order=True)
        file.create_group("videos")
        return file

    def _resume(self) -> h5py.File | None:
        """Return the file of an interrupted run of the same recipe, if there is one."""
        if not self.partial.exists():
            return None
        try:
            file = h5py.File(
                self.partial, "r+", alignment_threshold=_PAGE, alignment_interval=_PAGE
            )
        except BlockingIOError as error:
            raise DataError(f"{self.partial}: another process is writing this file") from error
        except OSError:
            notice(f"{self.partial}: damaged, so preparing starts over")
            return None
        if file.attrs.get("recipe") != self._recipe or not file.attrs.get("closed"):
            notice(
                f"{self.partial}: of another source, setting or a crash, so preparing starts over"
            )
            file.close()
            return None
        file.attrs["closed"] = False
        file.flush()
        for video in file["videos"].values():
            self._labels[video["labels"].attrs["sha256"]] = video["labels"]
        notice(f"{self.partial}: continuing after {len(file['videos'])} videos")
        return file

    def _suspend(self) -> None:
        """Leave a file that `_resume` accepts."""
        videos = self._file["videos"]
        for video_id in [name for name in videos if not _is_complete(videos[name])]:
            del videos[video_id]
        self._file.attrs["closed"] = True
        self._file.close()
        notice(f"{self.partial}: kept; the same command continues it")

    def _write_labels(self, video: h5py.Group, labels: np.ndarray) -> None:
        """Write labels once: several views of one performance link to the same array."""
        digest = hashlib.sha256(labels.data).hexdigest()
        if digest not in self._labels:
            array = video.create_dataset("labels", data=labels)
            array.attrs["sha256"] = digest
            self._labels[digest] = array
        else:
            video["labels"] = self._labels[digest]

    def _write_features(
        self, video: h5py.Group, blocks: Iterable[np.ndarray], rows: int, covered: int
    ) -> None:
        dtype = np.dtype(self._header.dtype).newbyteorder("<")
        digest = hashlib.sha256()
        with self._writing():
            array = video.create_dataset("features", (rows, self._header.feature_dim), dtype)
        start = 0
        for block in _padded(blocks, rows - covered, self._header.feature_dim):
            data = np.ascontiguousarray(block, dtype)
            with self._writing():
                array[start : start + len(data)] = data
            digest.update(data.data)
            start += len(data)
        if start != rows:
            raise ValueError(f"{video.name}: {start} feature rows for {rows}")
        with self._writing():
            array.attrs["sha256"] = digest.hexdigest()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Tell failures of the disk as user errors; HDF5 raises them as OSError or RuntimeError."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            text = " ".join(str(error).split())
            number = getattr(error, "errno", None)
            if number in _DISK_FULL or os.strerror(errno.ENOSPC) in text:
                text = "no space left on the device; free some, or use --stride or --dtype float16"
            raise DataError(f"{self.partial}: cannot be written: {text}") from error


def _is_complete(video: h5py.Group | None) -> bool:
    return video is not None and "num_feature_frames" in video.attrs


def _write_text(group: h5py.Group, name: str, lines: Sequence[str]) -> None:
    group.create_dataset(name, data=list(lines), dtype=h5py.string_dtype())


def _padded(blocks: Iterable[np.ndarray], num_zeros: int, feature_dim: int) -> Iterator[np.ndarray]:
    yield from blocks
    for start in range(0, num_zeros, _PAGE):
        yield np.zeros((min(_PAGE, num_zeros - start), feature_dim), np.float32)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
