"""What `evidence.yaml` asks for: data files, parts, and how long they will take here.

A part is a sweep in a folder of runs of its own. What a run costs is known from `evidence.json`,
which a machine of known speed has made.
"""

import time
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch

from anticipate.lab.sweep.plan import Planned
from anticipate.lab.sweep.run_sweep import planned_runs
from anticipate.lab.sweep.sweep_command import parse
from anticipate.training.settings import read_yaml

PLAN = Path(__file__).parent / "evidence.yaml"
RUNS, DATA = Path("runs/evidence"), Path("data/evidence")


class Part(NamedTuple):
    """One sweep."""

    name: str
    title: str
    data: str
    """Name of its data file."""
    sweep: str
    """Words of `anticipate sweep`."""
    seeds: tuple[int, ...]

    @property
    def folder(self) -> Path:
        """Folder of its runs."""
        return RUNS / self.name

    @property
    def file(self) -> Path:
        """Its data file."""
        return DATA / f"{self.data}.h5"

    def words(self, jobs: int) -> list[str]:
        """Return the words of its command line."""
        return [
            *("sweep", *self.sweep.split(), "--run-dir", str(self.folder), "--jobs", str(jobs)),
            *("--seeds", *map(str, self.seeds), "--set", f"data.path={self.file}"),
        ]

    def planned(self, jobs: int) -> list[Planned]:
        """Return its runs and what is left to do for each; its data file has to be there."""
        options: Namespace = parse(self.words(jobs))
        return planned_runs(options)


class Plan(NamedTuple):
    """The content of `evidence.yaml`."""

    data: Mapping[str, Mapping[str, str]]
    """By name: words of `anticipate prepare`, and the folder of real labels."""
    parts: tuple[Part, ...]
    labels: Mapping[str, Any]
    tables: Mapping[str, Mapping[str, Any]]


def read_plan(quick: bool = False) -> Plan:
    """Read `evidence.yaml`.

    Args:
        quick: Leave out what is not marked as quick, and all seeds but the first.
    """
    content = read_yaml(PLAN.read_text())
    parts = [
        Part(
            name,
            part["title"],
            part["data"],
            part["sweep"],
            tuple(part["seeds"][:1] if quick else part["seeds"]),
        )
        for name, part in content["parts"].items()
        if part.get("quick") or not quick
    ]
    return Plan(content["data"], tuple(parts), content["labels"], content["tables"])


def seconds_to_do(
    todo: Iterable[tuple[str, str]], known: Mapping[str, Sequence[Mapping[str, Any]]]
) -> float:
    """Return the seconds of one core that runs will take on the machine of earlier ones.

    Args:
        todo: Part and name of each run.
        known: Runs of earlier evidence by part, with `run` and `cpu_seconds`. A run that is not
            among them counts as those of its part, or as all.

    >>> known = {"a": [{"run": "x", "cpu_seconds": 10.0}, {"run": "y", "cpu_seconds": 30.0}]}
    >>> seconds_to_do([("a", "x"), ("a", "new")], known)
    30.0
    """
    costs: dict[tuple[str, str], list[float]] = {}
    for part, runs in known.items():
        for run in runs:
            if run["cpu_seconds"] is not None:
                for key in ((part, run["run"]), (part, ""), ("", "")):
                    costs.setdefault(key, []).append(run["cpu_seconds"])
    total = 0.0
    for part, name in todo:
        keys = ((part, name), (part, ""), ("", ""))
        total += fmean(next((costs[key] for key in keys if key in costs), [0.0]))
    return total


def seconds_of_work() -> float:
    """Return how long a fixed piece of work takes one core, the best of five: machines differ."""
    matrix, times, threads = torch.eye(256), [], torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(5):
        began = time.process_time()
        for _ in range(100):
            matrix = torch.tanh(matrix @ matrix)
        times.append(time.process_time() - began)
    torch.set_num_threads(threads)
    return min(times)
