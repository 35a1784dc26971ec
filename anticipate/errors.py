"""Mistakes a user can make, as one exception tree.

A message says what was found, what was expected and what to do about it. `anticipate.cli.main`
prints it as one line and exits with code 2; every other exception is a bug and keeps its traceback.
"""

import errno
from collections.abc import Iterator
from types import TracebackType

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of the operating system when there is no room for a file."""


HDF5_READERS = ("/h5py/", "/anticipate/datasets/file/")
"""Code that fails where the content of an HDF5 file is not what it should be."""


class AnticipateError(Exception):
    """Root of every error that a user can cause and mend."""


class ConfigError(AnticipateError, ValueError):
    """A setting, option or YAML file that cannot be used."""


class DataError(AnticipateError):
    """A data, label or prediction file that is missing, damaged or inconsistent."""


class CheckpointError(AnticipateError):
    """A checkpoint that is missing, damaged or of another model."""


class RunExistsError(AnticipateError):
    """A run folder that already holds a run."""


def mistake_behind(error: Exception) -> AnticipateError | None:
    """Return what a user can mend in an exception that a library raised.

    Args:
        error: A file that the system does not let us use, or bytes that HDF5 cannot understand.

    Returns:
        None where it is something else, and so a bug.
    """
    if isinstance(error, OSError) and isinstance(error.__context__, AnticipateError):
        return error.__context__  # after which a logger failed to close
    if isinstance(error, OSError) and (error.filename or error.errno in DISK_FULL):
        file = error.filename or "a file of the run"
        return DataError(f"{file}: {error.strerror}: see that it can be read and written")
    places = list(_places(error.__traceback__))
    where = f"/{places[-1].tb_frame.f_code.co_filename}".replace("\\", "/")
    if not any(readers in where for readers in HDF5_READERS):
        return None
    owners = (getattr(one.tb_frame.f_locals.get("self"), "path", None) for one in reversed(places))
    path = next(filter(None, owners), "an HDF5 file")
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(
        f"{path}: damaged, or not written by anticipate ({reason}): look at it with anticipate "
        "inspect --verify, or make it again"
    )


def _places(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next
