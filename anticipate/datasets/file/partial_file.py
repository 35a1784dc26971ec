"""`PartialFile` writes a data file under a temporary name, resumable, with checksums.

This is what all kinds of data files share; `writer` and `short_term_writer` fill them with videos.
"""

import contextlib
import errno
import hashlib
import json
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np

from anticipate import __version__
from anticipate.console import notice
from anticipate.datasets.file.data_file import FORMAT, FORMAT_VERSION, TABLES_SUM, sum_of_tables
from anticipate.errors import DISK_FULL, DataError

_PAGE = (
    4096  # arrays start at page borders: a row of 2048 float16 values is one page of a mapped file
)


class PartialFile:
    """A data file in the making; a subclass adds videos and completes it.

    Everything goes to `<path>.partial`. After Ctrl-C this file stays, and a writer with the same
    attributes, names and recipe continues it; after any other failure it is removed. Nothing
    incomplete ever has the final name.

    Args:
        path: The file to make.
        attributes: Root attributes, `feature_dim` and `dtype` among them.
        names: Lists of names by dataset, `classes` among them.
        recipe: Fingerprint of everything else that decides the content, e.g. of the label files.
        overwrite: Replace an existing file.

    Raises:
        DataError: The file exists already, another process writes it, or the disk is full.
    """

    last_attribute: ClassVar[str]
    """Attribute of a video that is written after all else, so that a video with it is complete."""

    def __init__(
        self,
        path: str | Path,
        attributes: Mapping[str, Any],
        names: Mapping[str, Sequence[str]],
        recipe: str,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ".partial")
        self._attributes = attributes
        self._names = names
        everything = repr((__version__, attributes, names, recipe))
        self._recipe = hashlib.sha256(everything.encode()).hexdigest()
        if self.path.exists() and not overwrite:
            raise DataError(f"{self.path}: exists already; replace it with --force")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            return
        with contextlib.suppress(OSError, RuntimeError):  # the first error is the one to report
            if kind is KeyboardInterrupt:
                with _uninterrupted():
                    self._suspend()
                return
        discard(self._file, self.partial)

    def has(self, video_id: str) -> bool:
        """Return whether a video is already written."""
        with _uninterrupted():
            return self._is_complete(self._file["videos"].get(video_id))

    def _enter(self) -> None:
        with self._writing():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._resume() or self._start()

    def _complete(self, notes: Mapping[str, Any]) -> None:
        """Mark the file complete and give it its final name."""
        with self._writing():
            self._file.attrs["notes"] = json.dumps(notes)
            self._file.attrs[TABLES_SUM] = sum_of_tables(self._file)
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
        for name, value in self._attributes.items():
            file.attrs[name] = value
        for name, lines in self._names.items():
            write_text(file, name, lines)
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
            notice(f"{self.partial}: damaged; starting from the beginning")
            return None
        if file.attrs.get("recipe") != self._recipe or not file.attrs.get("closed"):
            notice(
                f"{self.partial}: from another source, other settings or a crash; "
                "starting from the beginning"
            )
            file.close()
            return None
        file.attrs["closed"] = False
        file.flush()
        notice(f"{self.partial}: continuing after {len(file['videos'])} videos")
        return file

    def _suspend(self) -> None:
        """Leave a file that `_resume` accepts."""
        videos = self._file["videos"]
        for video_id in [name for name in videos if not self._is_complete(videos[name])]:
            del videos[video_id]
        self._file.attrs["closed"] = True
        self._file.close()
        notice(f"{self.partial}: kept; the same command continues it")

    def _write_features(self, video: h5py.Group, blocks: Iterable[np.ndarray], rows: int) -> None:
        dtype = np.dtype(self._attributes["dtype"]).newbyteorder("<")
        digest = hashlib.sha256()
        with self._writing():
            array = video.create_dataset("features", (rows, self._attributes["feature_dim"]), dtype)
        start = 0
        for block in blocks:
            data = np.ascontiguousarray(block, dtype)
            with self._writing():
                array[start : start + len(data)] = data
            digest.update(data.data)
            start += len(data)
        if start != rows:
            raise DataError(
                f"{self.path}: video {video.name.rpartition('/')[2]} has {start} rows of features, "
                f"expected {rows}"
            )
        with self._writing():
            array.attrs["sha256"] = digest.hexdigest()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Tell failures of the disk as user errors; HDF5 raises them as OSError or RuntimeError."""
        try:
            with _uninterrupted():
                yield
        except (OSError, RuntimeError, ValueError) as error:  # ValueError: NUL in a path
            text = " ".join(str(error).split())
            number = getattr(error, "errno", None)
            if number in DISK_FULL or os.strerror(errno.ENOSPC) in text:
                text = (
                    "no space left on the device; free some, or store less with --dtype float16 "
                    "and fewer frames"
                )
            raise DataError(f"{self.partial}: cannot be written: {text}") from error

    def _is_complete(self, video: h5py.Group | None) -> bool:
        return video is not None and self.last_attribute in video.attrs


def discard(file: h5py.File, path: Path) -> None:
    """Close and remove a file that cannot be completed.

    Args:
        file: The open file.
        path: Where it is, if it is still there.
    """
    with contextlib.suppress(OSError, RuntimeError):
        os.truncate(path, 0)  # makes room on a full disk, where HDF5 fails to close, and then
        file.close()  # ends the process with a segmentation fault
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done: in a callback of HDF5 it would be swallowed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)


def write_text(group: h5py.Group, name: str, lines: Sequence[str]) -> None:
    """Write a list of texts.

    Args:
        group: Where to write it.
        name: Name of the dataset.
        lines: The texts, none allowed.
    """
    group.create_dataset(name, data=list(lines), dtype=h5py.string_dtype())


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
