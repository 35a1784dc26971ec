"""What one machine gives a sweep: processor cores and GPUs, shared out among its jobs."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import torch

from anticipate.errors import ConfigError

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
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
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
