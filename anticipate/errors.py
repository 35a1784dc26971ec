"""Mistakes a user can make, as one exception tree.

A message says what was found, what was expected and what to do about it. `anticipate.cli.main`
prints it as one line and exits with code 2; every other exception is a bug and keeps its traceback.
"""

import errno
from traceback import walk_tb

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of the operating system when there is no room for a file."""

HDF5_READERS = ("/h5py/", "/anticipate/datasets/file/")
"""Code that fails where the content of an HDF5 file is not what it should be."""

RESTORING = "/trainer/connectors/checkpoint_connector.py"
"""Code of Lightning that fails where a checkpoint is not one of its own."""


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
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    files = [f"/{frame.f_code.co_filename}".replace("\\", "/") for frame in frames]
    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    saving = any(frame.f_code.co_name == "dump_checkpoint" for frame in frames)
    if any(RESTORING in file for file in files) and not saving:
        paths = (frame.f_locals.get("checkpoint_path") for frame in frames)
        path = next(filter(None, paths), "the checkpoint")
        return CheckpointError(
            f"{path}: lacks what Lightning needs to load it ({reason}): expected a checkpoint that "
            "anticipate fit or convert wrote"
        )
    if any(readers in files[-1] for readers in HDF5_READERS):
        owners = (getattr(frame.f_locals.get("self"), "path", None) for frame in reversed(frames))
        path = next(filter(None, owners), "an HDF5 file")
        return DataError(
            f"{path}: damaged, or not written by anticipate ({reason}): look at it with anticipate "
            "inspect --verify, or make it again"
        )
    return None
