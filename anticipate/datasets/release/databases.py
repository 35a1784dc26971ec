"""Features by frame, from stores side by side; LMDBs: opened once per process, read by frame."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import lmdb
import numpy as np
from jaxtyping import Float, Float32, Int

from anticipate.datasets.release.releases import FPS, RecordedVideo
from anticipate.datasets.release.text_files import whole_number
from anticipate.errors import DataError

_open: dict[Path, tuple[lmdb.Environment, int]] = {}
_lock = threading.Lock()


@contextmanager
def reading(database: Path) -> Iterator[lmdb.Transaction]:
    """Read a database; threads share it, as a process may open a database only once.

    Args:
        database: Folder of the database.

    Raises:
        DataError: It is no readable database.
    """
    with _lock:
        environment, users = _open.get(database) or (_environment(database), 0)
        _open[database] = (environment, users + 1)
    try:
        with environment.begin() as transaction:
            yield transaction
    except lmdb.Error as error:
        raise DataError(f"{database}: a damaged LMDB ({error}); fetch it again") from error
    finally:
        with _lock:
            environment, users = _open.pop(database)
            if users > 1:
                _open[database] = (environment, users - 1)
            else:
                environment.close()


def decode_row(
    value: bytes | memoryview, feature_dim: int, where: str
) -> Float32[np.ndarray, " feature"]:
    """Read the features of one image.

    Args:
        value: What the database holds: float32 values, least significant byte first.
        feature_dim: Width that is expected.
        where: Database and key, for the messages.

    Raises:
        DataError: The value is of another width or type, or not finite.
    """
    if len(value) != 4 * feature_dim:
        raise DataError(
            f"{where} has {len(value)} bytes, expected {feature_dim} float32 values; give "
            f"another width with --feature-dim"
        )
    row = np.frombuffer(value, "<f4")
    if not np.isfinite(row).all():
        raise DataError(f"{where} holds NaN or infinity")
    return row


def database_state(database: Path) -> tuple[str, int, int]:
    """Return name, size and time of change of a database.

    Args:
        database: Folder of the database.
    """
    file = database / "data.mdb"
    return str(file), file.stat().st_size, file.stat().st_mtime_ns


def _environment(database: Path) -> lmdb.Environment:
    try:
        environment = lmdb.open(str(database), readonly=True, lock=False, readahead=False)
    except lmdb.Error as error:
        raise DataError(f"{database}: not a readable LMDB ({error})") from error
    pages, found = environment.info()["last_pgno"] + 1, (database / "data.mdb").stat().st_size
    expected = pages * environment.stat()["psize"]
    if found < expected:  # it is mapped: reading beyond its end would kill the process
        environment.close()
        raise DataError(
            f"{database}: cut off: {found:,} bytes, expected {expected:,}; fetch it again"
        )
    return environment


REACH = 9
"""Frames to go back for a missing one, as AVT and AFFT do."""
NONE = 0
"""Stands for a frame that neither is there nor has a substitute; frames count from 1."""

_BLOCK_BYTES = 1 << 25


@runtime_checkable
class FeatureStore(Protocol):
    """Where the features of one kind lie: rows that a count of its own numbers from 1 on."""

    @property
    def feature_dim(self) -> int:
        """Width of a row."""
        ...

    def __str__(self) -> str:
        """Return where it is, and what its numbers stand for."""
        ...

    def state(self) -> object:
        """Return what changes whenever the features change."""
        ...

    def present(self, video_id: str) -> Int[np.ndarray, " numbers"]:
        """Return the numbers of a video that are there, in order."""
        ...

    def numbers(
        self, video_id: str, frames: Int[np.ndarray, " frames"]
    ) -> Int[np.ndarray, " frames"]:
        """Return the number of what was seen last at or before each frame of the annotation."""
        ...

    def last_frame(self, video_id: str, number: int) -> int:
        """Return the last frame of the annotation whose number is at most the given one."""
        ...

    def read(
        self, video_id: str, numbers: Int[np.ndarray, " rows"]
    ) -> Float[np.ndarray, "rows feature"]:
        """Return rows; NONE stands for zeros."""
        ...


class FrameDatabase(NamedTuple):
    """An LMDB with a key per image: image floor(n rate / 30) shows frame n of the annotation."""

    path: Path
    feature_dim: int
    native_fps: Mapping[str, Fraction] | None = None
    """Images per second of each video; None for those of the annotation."""

    def __str__(self) -> str:
        return str(self.path)

    def state(self) -> object:
        """Return name, size and time of change of the database."""
        return database_state(self.path), self.feature_dim

    def present(self, video_id: str) -> Int[np.ndarray, " numbers"]:
        """Return the images of a video.

        Raises:
            DataError: There are none, a key has no number, or the database is damaged.
        """
        found = present_frames(self.path, video_id)
        if not len(found):
            raise DataError(
                f"{self.path}: no frames of video '{video_id}', expected keys such as "
                f"'{video_id}_frame_0000000001.jpg'"
            )
        return found

    def numbers(
        self, video_id: str, frames: Int[np.ndarray, " frames"]
    ) -> Int[np.ndarray, " frames"]:
        """Return the image of each frame."""
        ratio = self._rate(video_id) / FPS
        return (frames * ratio.numerator // ratio.denominator).clip(1)

    def last_frame(self, video_id: str, number: int) -> int:
        """Return the last frame whose image is there."""
        ratio = (number + 1) / (self._rate(video_id) / FPS)
        return -(-ratio.numerator // ratio.denominator) - 1

    def read(
        self, video_id: str, numbers: Int[np.ndarray, " rows"]
    ) -> Float32[np.ndarray, "rows feature"]:
        """Return the features of some images.

        Raises:
            DataError: A value is of another width or not finite.
        """
        rows = np.zeros((len(numbers), self.feature_dim), np.float32)
        # a database is closed after each block, so that the pages it has read are freed
        with reading(self.path) as transaction:
            for row, number in zip(rows, numbers.tolist(), strict=True):
                if number != NONE:
                    key = frame_key(video_id, number)
                    where = f"{self.path}: '{key.decode()}'"
                    row[:] = decode_row(transaction.get(key, b""), self.feature_dim, where)
        return rows

    def _rate(self, video_id: str) -> Fraction:
        if self.native_fps is None:
            return Fraction(FPS)
        if video_id not in self.native_fps:
            raise DataError(f"--native-fps: no frame rate for video '{video_id}'")
        return self.native_fps[video_id]


def present_frames(database: Path, video_id: str) -> Int[np.ndarray, " frames"]:
    """Return the frames of a video that a database has, in order.

    Args:
        database: Folder of the database.
        video_id: Video.

    Raises:
        DataError: It is damaged, or a key has no number.
    """
    prefix = f"{video_id}_frame_".encode()
    with reading(database) as transaction:
        texts = [key[len(prefix) :].partition(b".")[0] for key in _keys(transaction, prefix)]
    where = f"{database}: a key of video '{video_id}'"
    return np.array([whole_number(text.decode("latin-1"), where) for text in texts], np.int64)


def stand_ins(
    wanted: Int[np.ndarray, " rows"], present: Int[np.ndarray, " frames"]
) -> Int[np.ndarray, " rows"]:
    """Return the frame to read for each wanted one: itself, the nearest earlier one, or NONE.

    Args:
        wanted: Frame numbers.
        present: Frames that are there, in order.
    """
    if not len(present):
        return np.full_like(wanted, NONE)
    position = np.searchsorted(present, wanted, side="right") - 1
    found = present[position.clip(0)]
    near = (position >= 0) & (wanted - found <= REACH)
    return np.where(near, found, NONE)


Frames = Mapping[str, Sequence[Int[np.ndarray, "..."]]]
"""Of each video and store the numbers of what becomes the stored rows; NONE is zeros."""


class FrameFeatures:
    """Source of features of several stores, side by side.

    Args:
        streams: The stores of each stream by its name, in the order of their columns.
        frames: What to read of each store for each row.
        notes: What was missing.
    """

    synthetic = False

    def __init__(
        self,
        streams: Mapping[str, Sequence[FeatureStore]],
        frames: Frames,
        notes: Mapping[str, int],
    ) -> None:
        self.streams = {
            name: sum(store.feature_dim for store in stores) for name, stores in streams.items()
        }
        self.feature_dim = sum(self.streams.values())
        self._stores = [store for stores in streams.values() for store in stores]
        self._frames = frames
        self._notes = notes

    def describe(self) -> dict[str, Any]:
        """Return the stores and how many frames were missing."""
        return {"features": [str(store) for store in self._stores], **self._notes}

    def fingerprint(self) -> str:
        """Return names, sizes and times of change of all stores."""
        return repr(([store.state() for store in self._stores], self.streams, self._notes))

    def rows(self, video: RecordedVideo) -> Iterator[Float[np.ndarray, "rows feature"]]:
        """Yield all rows of a video in blocks.

        Raises:
            DataError: A value is of another width or not finite.
        """
        frames = self._frames[video.video_id]
        block = max(1, _BLOCK_BYTES // (4 * self.feature_dim))
        for start in range(0, len(frames[0]), block):
            columns = [
                store.read(video.video_id, numbers[start : start + block])
                for store, numbers in zip(self._stores, frames, strict=True)
            ]
            yield np.concatenate(columns, axis=1)


def frame_key(video_id: str, frame: int) -> bytes:
    """Return the key of one frame.

    Args:
        video_id: Video.
        frame: Its number, from 1 on.
    """
    return f"{video_id}_frame_{frame:010d}.jpg".encode()


def _keys(transaction: lmdb.Transaction, prefix: bytes) -> Iterator[bytes]:
    cursor = transaction.cursor()
    if not cursor.set_range(prefix):
        return
    for key in map(bytes, cursor.iternext(keys=True, values=False)):
        if not key.startswith(prefix):
            return
        yield key
