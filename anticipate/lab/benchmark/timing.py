"""Time and peak memory of things that are compared, interleaved in one process."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch

from anticipate.machine import knows_memory_peak, memory_peak, reset_memory_peak

MIB = 2**20

Candidate = Callable[[], Any]
"""Does the work once; returns its result, an array or tensor, or a tuple of them."""

DIFFERENCE = "difference"
"""Figure of a row: largest distance from the first candidate's result, by its largest value."""


class Row(NamedTuple):
    """One candidate of a comparison."""

    name: str
    seconds: float
    """Median over the rounds."""
    fastest: float
    """Seconds of the fastest round: what others on a busy machine disturbed least."""
    ratio: float
    """Median over the rounds of its time by that of the first candidate in the same round."""
    figures: dict[str, float]
    """More numbers, by what they are and their unit."""


class Group(NamedTuple):
    """Candidates that ran interleaved; the first one is what the others are compared with."""

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """What the reader must know, such as candidates that were left out and why."""


def compare(
    title: str,
    candidates: Mapping[str, Candidate],
    repeats: int,
    figures: Mapping[str, Mapping[str, float]] | None = None,
    notes: Sequence[str] = (),
    same: bool = True,
) -> Group:
    """Run every candidate once to warm up and compare results, then time all of them in turns.

    Args:
        title: What is measured.
        candidates: What to run, by name; the first one is what the others are compared with.
        repeats: Rounds of timing.
        figures: More numbers of a row, by candidate.
        notes: What the reader must know.
        same: Whether the results are to be equal; works of different sizes have nothing to compare.
    """
    results = {name: run() for name, run in candidates.items()}
    first = next(iter(candidates))
    differences = {
        name: {DIFFERENCE: _difference(_arrays(results[first]), _arrays(result))}
        for name, result in results.items()
        if same and name != first
    }
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    rows = tuple(
        Row(
            name,
            seconds=median(times),
            fastest=min(times),
            ratio=median(mine / its for mine, its in zip(times, seconds[first], strict=True)),
            figures={**differences.get(name, {}), **(figures or {}).get(name, {})},
        )
        for name, times in seconds.items()
    )
    return Group(title, rows, tuple(notes))


def peak_memory(
    make: Callable[..., Candidate], small: tuple[Any, ...], sizes: tuple[Any, ...]
) -> dict[str, float]:
    """Measure in a process of its own how much `make(*sizes)()` holds beyond what it was given.

    Args:
        make: Prepares the work, its inputs included; a function of a module.
        small: Arguments of tiny work of the same kind that runs first: it imports and compiles.
        sizes: Arguments of the work that is measured.

    Returns:
        `peak MiB`; nothing on a system that does not keep such a mark.
    """
    if not knows_memory_peak():
        return {}
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        peak = process.submit(_peak, torch.get_num_threads(), make, small, sizes).result()
    return {"peak MiB": peak / MIB}


def _peak(
    threads: int, make: Callable[..., Candidate], small: tuple[Any, ...], sizes: tuple[Any, ...]
) -> int:
    torch.set_num_threads(threads)
    make(*small)()
    work = make(*sizes)
    reset_memory_peak()
    before = memory_peak() or 0
    work()
    return (memory_peak() or 0) - before


def _arrays(result: Any) -> tuple[np.ndarray, ...]:
    parts = result if isinstance(result, tuple) else (result,)
    return tuple(np.asarray(part, dtype=np.float64) for part in parts)


def _difference(first: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> float:
    return max(
        float(np.abs(one - two).max() / max(np.abs(one).max(), np.finfo(np.float64).tiny))
        for one, two in zip(first, other, strict=True)
    )
