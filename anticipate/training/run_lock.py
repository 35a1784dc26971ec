"""One process at a time trains in a run folder.

On one machine, and on file systems that share locks, the lock ends with its process. For others it
has a heartbeat: without one for ten minutes, the process on the other machine counts as gone.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from io import BufferedRandom
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from anticipate.errors import RunExistsError
from anticipate.files import LOCK

HEARTBEAT = 60.0
"""Seconds between two signs of life."""
STALE = 600.0
"""Seconds without a sign of life after which a process of another machine counts as gone."""


def lock_file(path: Path) -> BufferedRandom | None:
    """Open a file for appending, locked until all that inherit it have closed it.

    Args:
        path: The file; made where it is missing.

    Returns:
        The file; None while another process holds its lock.
    """
    while True:
        file = path.open("ab+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError:  # a file system without locks: the heartbeat has to do
            return file
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # its holder removed it between our two steps


class RunLock(Callback):
    """Keeps other processes out of the run folder of a training."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._file: BufferedRandom | None = None
        self._done = threading.Event()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the lock of a new run, whose folder is about to be made."""
        folder = trainer.log_dir if stage == "fit" and trainer.loggers else None  # of all processes
        if folder and trainer.is_global_zero:
            self.acquire(Path(folder))

    def acquire(self, folder: Path) -> None:
        """Take the lock of a run folder, unless it is taken already.

        Raises:
            RunExistsError: Another process trains in the folder.
        """
        if self._file is not None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / LOCK
        file = lock_file(self._path)
        owner = owner_of(self._path)
        if file is None or owner:
            if file is not None:
                file.close()
            raise RunExistsError(
                f"{folder}: {owner or 'another process'} trains in it: wait for its end, or "
                "choose another --run_name"
            )
        self._file = file
        file.truncate(0)
        file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode())
        file.flush()
        threading.Thread(target=self._beat, daemon=True).start()

    def release(self) -> None:
        """Let others train in the folder."""
        self._done.set()
        if self._file is not None and self._path is not None:
            self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def _beat(self) -> None:
        while not self._done.wait(HEARTBEAT):
            with contextlib.suppress(OSError):
                os.utime(self._path or "")


def is_training(folder: Path) -> bool:
    """Return whether a process trains in a run folder."""
    path = folder / LOCK
    if not path.exists():
        return False
    file = lock_file(path)
    if file is None:
        return True
    owner = owner_of(path)
    if owner is None:
        path.unlink(missing_ok=True)  # left by a process that was killed
    file.close()
    return owner is not None


def owner_of(path: Path) -> str | None:
    """Return the process of another machine that holds a lock; None where there is none."""
    try:
        owner = json.loads(path.read_text())
        alive = time.time() - path.stat().st_mtime < STALE
        elsewhere = owner["host"] != socket.gethostname()
        return f"process {owner['pid']} on {owner['host']}" if elsewhere and alive else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
