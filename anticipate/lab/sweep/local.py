"""Runs as processes of this machine, a few at a time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anticipate.lab.sweep.lock import options_now, take_lock
from anticipate.lab.sweep.task import Task

PATIENCE = 30.0
"""Seconds that a run gets to close its files before it is killed."""


@dataclass
class _Slot:
    """A share of the machine, and who uses it."""

    environment: Mapping[str, str]
    task: Task | None = None
    process: subprocess.Popen[bytes] | None = None


class LocalLauncher:
    """Starts a process per run, as many at a time as there are shares of the machine.

    Args:
        environments: Variables of each share.
        program: What runs `anticipate`.
    """

    def __init__(
        self,
        environments: Sequence[Mapping[str, str]],
        program: Sequence[str] = (sys.executable, "-m", "anticipate"),
    ) -> None:
        self._slots = [_Slot(environment) for environment in environments]
        self._program = tuple(program)
        self._waiting: list[Task] = []

    def launch(self, tasks: list[Task]) -> None:
        """Take all tasks on, to be started in this order as there is room."""
        self._waiting += tasks

    def poll(self) -> None:
        """Bring the states of all tasks up to date, and start what there is room for."""
        for slot in self._slots:
            if slot.task and _ended(slot):
                slot.task.end()
                slot.task = slot.process = None
            if not slot.task and self._waiting:
                slot.task = self._waiting.pop(0)
                self._start(slot, slot.task)

    def stop(self) -> str:
        """Interrupt all processes, and kill those that do not end in time."""
        busy = [slot for slot in self._slots if slot.process]
        for slot in busy:
            if slot.process:
                slot.process.send_signal(signal.SIGINT)
        try:
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and not all(map(_ended, busy)):
                time.sleep(0.1)
        finally:  # reached by a second Ctrl-C too
            for slot in busy:
                _kill(slot)
        for task in [*self._waiting, *(slot.task for slot in busy if slot.task)]:
            task.state = "stopped"
        return "stopped after their last epoch"

    def _start(self, slot: _Slot, task: Task) -> None:
        log = take_lock(task.run.folder)
        if log is None:
            task.begin("elsewhere")
            return
        task.begin("running")
        with log:
            options = options_now(task.run)
            if options is None:
                return  # finished by somebody else since the plan was made
            slot.process = subprocess.Popen(
                [*self._program, "fit", *options],
                env={**os.environ, **slot.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches a run through `stop` alone
            )


def _ended(slot: _Slot) -> bool:
    if slot.process:
        return slot.process.poll() is not None
    log = take_lock(slot.task.run.folder) if slot.task else None
    if log:
        log.close()
    return slot.task is None or log is not None


def _kill(slot: _Slot) -> None:
    if slot.process and slot.process.poll() is None:
        os.killpg(slot.process.pid, signal.SIGKILL)  # with the helpers that it started
        slot.process.wait()
