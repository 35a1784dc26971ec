"""Features in LMDBs: each opened at most once per process, and read frame by frame."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import lmdb
import numpy as np
from jaxtyping import Float32, Int

from anticipate.datasets.release.releases import RecordedVideo
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


class Stream(NamedTuple):
    """One database of features."""

    database: Path
    feature_dim: int


Frames = Mapping[str, Sequence[Int[np.ndarray, "..."]]]
"""Of each video and stream the frames whose features become the stored rows; NONE is zeros."""


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


class FrameFeatures:
    """Source of features in LMDBs; those of several streams are concatenated.

    Args:
        streams: The databases, in the order of their columns.
        frames: What to read for each row.
        notes: What was missing.
    """

    synthetic = False

    def __init__(self, streams: Sequence[Stream], frames: Frames, notes: Mapping[str, int]) -> None:
        self.feature_dim = sum(stream.feature_dim for stream in streams)
        self._streams = streams
        self._frames = frames
        self._notes = notes

    def describe(self) -> dict[str, Any]:
        """Return the databases and how many frames were missing."""
        databases = [str(stream.database) for stream in self._streams]
        return {"features": databases, **self._notes}

    def fingerprint(self) -> str:
        """Return names, sizes and times of change of all databases."""
        states = [(database_state(stream.database), stream) for stream in self._streams]
        return repr((states, self._notes))

    def rows(self, video: RecordedVideo) -> Iterator[Float32[np.ndarray, "rows feature"]]:
        """Yield all rows of a video in blocks.

        Raises:
            DataError: A value is of another width or not finite.
        """
        frames = self._frames[video.video_id]
        block = max(1, _BLOCK_BYTES // (4 * self.feature_dim))
        for start in range(0, len(frames[0]), block):
            columns = [
                _read(stream, video.video_id, numbers[start : start + block])
                for stream, numbers in zip(self._streams, frames, strict=True)
            ]
            yield np.concatenate(columns, axis=1)


def frame_key(video_id: str, frame: int) -> bytes:
    """Return the key of one frame.

    Args:
        video_id: Video.
        frame: Its number, from 1 on.
    """
    return f"{video_id}_frame_{frame:010d}.jpg".encode()


def _read(
    stream: Stream, video_id: str, frames: Int[np.ndarray, " rows"]
) -> Float32[np.ndarray, "rows feature"]:
    rows = np.zeros((len(frames), stream.feature_dim), np.float32)
    # a database is closed after each block, so that the pages it has read are freed
    with reading(stream.database) as transaction:
        for row, frame in zip(rows, frames.tolist(), strict=True):
            if frame != NONE:
                key = frame_key(video_id, frame)
                where = f"{stream.database}: '{key.decode()}'"
                row[:] = decode_row(transaction.get(key, b""), stream.feature_dim, where)
    return rows


def _keys(transaction: lmdb.Transaction, prefix: bytes) -> Iterator[bytes]:
    cursor = transaction.cursor()
    if not cursor.set_range(prefix):
        return
    for key in map(bytes, cursor.iternext(keys=True, values=False)):
        if not key.startswith(prefix):
            return
        yield key
