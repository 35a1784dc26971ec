"""Runs as job arrays of a SLURM cluster, through submitit.

A job that nears its time limit, or is preempted with a signal, is put back into the queue by
Lightning; SLURM starts it again, and it continues after its last epoch.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from anticipate.cli import main
from anticipate.errors import ConfigError, RunExistsError
from anticipate.lab.sweep.folder import LOG
from anticipate.lab.sweep.local import THREADS
from anticipate.lab.sweep.plan import Run
from anticipate.lab.sweep.task import Task, options_now, take_lock


def run_in_job(run: Run) -> None:
    """Start or resume a run; its output goes to its log.

    Raises:
        RunExistsError: Another process works on the run.
    """
    first = os.environ.get("SLURM_PROCID", "0") == "0"
    log = take_lock(run.folder) if first else (run.folder / LOG).open("ab")
    if log is None:
        raise RunExistsError(f"{run.folder}: another process works on this run")
    for stream in (1, 2):
        os.dup2(log.fileno(), stream)
    for leftover in run.folder.glob("hpc_ckpt_*.ckpt"):  # of a requeue; last.ckpt is a whole epoch
        leftover.unlink(missing_ok=True)
    options = options_now(run)
    if options is not None:
        main(["fit", *options, f"--trainer.default_root_dir={run.folder}"])


JOB = "slurm_job"
"""File of a run folder that names the job, so that a later sweep follows it."""

DEFAULTS: dict[str, Any] = {
    "job_name": "anticipate",
    "time": 1440,
    "setup": [f"export {name}=${{SLURM_CPUS_PER_TASK:-1}}" for name in THREADS],
}
"""Parameters of submitit; time in minutes."""

REQUEUE = {"signal": "USR1@90", "requeue": True}
"""Options of sbatch: the signal that Lightning requeues at, 90 seconds before the time limit."""


class SlurmLauncher:
    """Submits all runs at once and follows them in the queue.

    Args:
        run_dir: Folder of all runs, which all nodes see; submitit's files go there.
        jobs: Runs of an array at a time; None for as many as the cluster gives.
        options: Options of sbatch as `key=value`.
        interval: Seconds between two looks at the queue.

    Raises:
        ConfigError: No submitit, or no cluster.
    """

    def __init__(
        self, run_dir: Path, jobs: int | None, options: Sequence[str], interval: float = 10.0
    ) -> None:
        if find_spec("submitit") is None:
            raise ConfigError("--launcher slurm needs: pip install 'anticipate[cluster]'")
        if shutil.which("sbatch") is None:
            raise ConfigError("--launcher slurm: no sbatch here; start it where jobs are submitted")
        self._folder = run_dir / ".slurm"
        self._parameters = parameters(options, jobs)
        self._interval, self._next_look = interval, 0.0
        self._jobs: dict[str, Task] = {}
        self._gone: set[str] = set()

    def launch(self, tasks: list[Task]) -> None:
        """Submit the runs, an array for each number of processes; follow those in the queue."""
        queue = states() or {}
        arrays: dict[tuple[int, int], list[Task]] = {}
        for task in tasks:
            job = _noted(task.run.folder)
            if job in queue:
                self._jobs[job] = task
                task.begin("queued")
            else:
                arrays.setdefault(_processes(task.run), []).append(task)
        for (nodes, processes), array in arrays.items():
            self._submit(array, nodes, processes)

    def poll(self) -> None:
        """Look at the queue now and then; a run that left it twice in a row has ended."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + self._interval
        queue = states()
        if queue is None:
            return  # the controller is busy
        for job, task in self._jobs.items():
            if job in queue:
                task.begin("running" if queue[job] in ("RUNNING", "COMPLETING") else "queued")
            elif task.open and job in self._gone:  # shared folders show files late
                task.end()
        self._gone = self._jobs.keys() - queue.keys()

    def stop(self) -> str:
        """Leave the jobs in the queue."""
        jobs = " ".join(job for job, task in self._jobs.items() if task.open)
        return f"the cluster continues with its jobs (to stop them: scancel {jobs})"

    def _submit(self, tasks: list[Task], nodes: int, processes: int) -> None:
        from submitit import SlurmExecutor  # here: the extra `cluster` brings it
        from submitit.core.utils import FailedJobError

        executor = SlurmExecutor(self._folder)
        try:
            executor.update_parameters(**self._parameters, nodes=nodes, ntasks_per_node=processes)
            jobs = executor.map_array(run_in_job, [task.run for task in tasks])
        except (ValueError, FailedJobError, subprocess.CalledProcessError) as error:
            raise ConfigError(f"SLURM refused the jobs: {' '.join(str(error).split())}") from error
        for job, task in zip(jobs, tasks, strict=True):
            self._jobs[job.job_id] = task
            task.begin("queued")
            task.run.folder.mkdir(parents=True, exist_ok=True)
            (task.run.folder / JOB).write_text(f"{job.job_id}\n")


def parameters(options: Sequence[str], jobs: int | None) -> dict[str, Any]:
    """Return parameters of submitit: those that it knows, all others handed on to sbatch.

    Args:
        options: Options of sbatch as `key=value`.
        jobs: Runs of an array at a time; None for no limit.
    """
    from submitit.slurm.slurm import _get_default_parameters as known  # no public name

    given = dict(option.split("=", 1) for option in options)
    values = {key.replace("-", "_"): yaml.safe_load(value) for key, value in given.items()}
    others = {key: values.pop(key) for key in values.keys() - known().keys()}
    limit = {} if jobs is None else {"array_parallelism": jobs}
    return {**DEFAULTS, **limit, **values, "additional_parameters": {**REQUEUE, **others}}


def states() -> dict[str, str] | None:
    """Return the state of each of the user's jobs in the queue by its id; None without answer."""
    command = ["squeue", "--me", "--array", "--noheader", "--format", "%i %T"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    rows = (line.split() for line in answer.stdout.splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 2}


def _noted(folder: Path) -> str:
    path = folder / JOB
    return path.read_text().strip() if path.is_file() else ""


def _processes(run: Run) -> tuple[int, int]:
    """Return nodes, and processes of each, that the trainer of a run counts on."""
    devices = run.settings.get("trainer.devices")
    return int(run.settings.get("trainer.num_nodes", 1)), devices if type(devices) is int else 1
