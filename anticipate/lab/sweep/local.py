"""Runs as processes of this machine, a few at a time, each on its share of cores and GPUs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from anticipate.errors import ConfigError
from anticipate.lab.sweep.task import Task, options_now, take_lock
from anticipate.machine import usable_cores

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables that the libraries read how many threads to use from."""


class Machine(NamedTuple):
    """What this process may use."""

    cores: int
    gpus: tuple[str, ...]
    """Ids of the GPUs, as CUDA_VISIBLE_DEVICES names them."""


def this_machine() -> Machine:
    """Return the cores and GPUs that this process may use."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = named.split(",") if named else [str(n) for n in range(torch.cuda.device_count())]
    cores = usable_cores()
    return Machine(cores, tuple(gpus[: torch.cuda.device_count()]))


def shares(machine: Machine, jobs: int | None) -> list[dict[str, str]]:
    """Return the environment variables that keep each of several jobs to its share.

    Args:
        machine: What there is.
        jobs: Runs at a time; None for one per GPU, or one where there is none.

    Raises:
        ConfigError: More jobs than cores.
    """
    jobs = jobs or max(1, min(len(machine.gpus), machine.cores))
    if jobs > machine.cores:
        raise ConfigError(f"--jobs {jobs}: this machine gives {machine.cores} cores")
    threads = str(machine.cores // jobs)
    return [
        dict.fromkeys(THREADS, threads) | _gpus(machine.gpus, number, jobs)
        for number in range(jobs)
    ]


def _gpus(gpus: Sequence[str], number: int, jobs: int) -> dict[str, str]:
    if not gpus:
        return {}
    own = gpus[number::jobs] or [gpus[number % len(gpus)]]
    return {"CUDA_VISIBLE_DEVICES": ",".join(own)}


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
