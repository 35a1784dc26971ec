"""Open LMDBs: each at most once per process, shared by threads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import numpy as np
from jaxtyping import Float32

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
        return lmdb.open(str(database), readonly=True, lock=False, readahead=False)
    except lmdb.Error as error:
        raise DataError(f"{database}: not a readable LMDB ({error})") from error
