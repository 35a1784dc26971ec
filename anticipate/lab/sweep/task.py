"""A run of a sweep while it is worked on: who works on it, where it begins, how far it is.

Who works on a run holds a lock on the log in its folder. The lock lives exactly as long as the
process, so a sweep sees what one that was killed has left running, and never doubles it.
"""

import os
import re
import time
from dataclasses import dataclass, field
from io import BufferedRandom
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from anticipate.errors import DataError
from anticipate.lab.sweep.folder import LOG, clear_beginning, stage_of
from anticipate.lab.sweep.plan import Run
from anticipate.lab.sweep.sweep_tables import Scores, read_scores
from anticipate.training.run_lock import is_training, lock_file

State = Literal["waiting", "queued", "running", "elsewhere", "finished", "failed", "stopped"]
"""`queued` on a cluster; `elsewhere`: another process, left by an earlier sweep, works on it."""

OPEN: tuple[State, ...] = ("waiting", "queued", "running", "elsewhere")

_EPOCH = re.compile(rb"^epoch (\d+/\d+)", re.MULTILINE)
_TAIL = 1 << 14  # bytes; only a table of results follows the last epoch's line


def take_lock(folder: Path) -> BufferedRandom | None:
    """Open the log of a run for appending, locked until all that inherit it have closed it.

    Args:
        folder: Run folder; made where it is missing.

    Returns:
        The log; None while another process works on the run, also one that no sweep has started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = lock_file(folder / LOG)
    if log is not None and is_training(folder):
        log.close()
        return None
    return log


def options_now(run: Run) -> tuple[str, ...] | None:
    """Return the words after `anticipate fit` that start or resume a claimed run.

    Returns:
        The words; None for a run that is finished.
    """
    stage = stage_of(run.folder, run.settings)
    if stage == "finished":
        return None
    options = (*run.options, "--trainer.enable_progress_bar=false")
    if stage == "begun":
        return (*options, "--ckpt_path=last")
    clear_beginning(run.folder)
    return options


@dataclass
class Task:
    """A run to train or resume, and how far it is."""

    run: Run
    state: State = "waiting"
    started: float | None = None
    """Seconds of the monotonic clock."""
    seconds: float = 0.0
    """How long it took; counted when it ends."""
    scores: Scores = field(default_factory=dict)
    """The main scores, when it is finished."""

    @property
    def open(self) -> bool:
        """Whether there is something to wait for."""
        return self.state in OPEN

    @property
    def log(self) -> Path:
        """Status of the run."""
        return self.run.folder / LOG

    @property
    def elapsed(self) -> float:
        """Seconds since its start, or those it took."""
        running = self.started is not None and self.open
        return time.monotonic() - (self.started or 0.0) if running else self.seconds

    def begin(self, state: State) -> None:
        """Note that somebody works on the run."""
        if self.started is None:
            self.started = time.monotonic()
        self.state = state

    def end(self) -> None:
        """Note that no process works on the run any more: it is finished if it was tested."""
        self.seconds = self.elapsed
        try:
            self.scores = read_scores(self.run.folder)
            self.state = "finished"
        except DataError:
            self.state = "failed"

    def epoch(self) -> str:
        """Return the last epoch that the log has, as `3/50`; empty before the first."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
                epochs = _EPOCH.findall(file.read())
        except FileNotFoundError:
            return ""
        return epochs[-1].decode() if epochs else ""


@runtime_checkable
class Launcher(Protocol):
    """Where runs are worked on."""

    def launch(self, tasks: list[Task]) -> None:
        """Take all tasks on, to be started as there is room."""

    def poll(self) -> None:
        """Bring the states of all tasks up to date, and start what there is room for."""

    def stop(self) -> str:
        """Give up what is open; returns what the user should know."""
