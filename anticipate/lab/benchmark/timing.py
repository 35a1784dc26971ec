"""Time and peak memory of things that are compared, interleaved in one process."""

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import numpy as np
import torch

from anticipate.lab.benchmark.speed_table import Group, Row
from anticipate.machine import knows_memory_peak, memory_peak, reset_memory_peak

Make = Callable[..., Callable[[], Any]]
"""A function of a module (it travels by name) that prepares work and returns it."""


def peak_memory(make: Make, small: tuple[Any, ...], sizes: tuple[Any, ...]) -> int | None:
    """Return how many bytes `make(*sizes)()` holds at most beyond what it was given.

    Args:
        make: Prepares the work, its inputs included.
        small: Arguments of tiny work of the same kind that runs first: it imports and compiles.
        sizes: Arguments of the work that is measured.

    Returns:
        The peak, or None on a system without such a mark.
    """
    if not knows_memory_peak():
        return None
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_measure, args=(sender, torch.get_num_threads(), make, small, sizes)
    )
    process.start()
    sender.close()
    peak: int = receiver.recv()
    process.join()
    return peak


def _measure(
    sender: Connection, threads: int, make: Make, small: tuple[Any, ...], sizes: tuple[Any, ...]
) -> None:
    torch.set_num_threads(threads)
    make(*small)()
    work = make(*sizes)
    reset_memory_peak()
    before = memory_peak()
    work()
    after = memory_peak()
    assert before is not None  # `peak_memory` has asked for marks
    assert after is not None
    sender.send(after - before)


Candidate = Callable[[], Any]
"""Does the work once; returns its result (an array or tensor, or a tuple of them), or None when
there is nothing to compare."""

DIFFERENCE = "difference"
"""Figure of a row: largest distance from the first candidate's result, by its largest value."""


def compare(
    title: str,
    candidates: Mapping[str, Candidate],
    repeats: int,
    figures: Mapping[str, Mapping[str, float]] | None = None,
    notes: Sequence[str] = (),
) -> Group:
    """Run every candidate once to warm up and compare results, then time all of them in turns.

    Args:
        title: What is measured.
        candidates: What to run, by name; the first one is what the others are compared with.
        repeats: Rounds of timing.
        figures: More numbers of a row, by candidate.
        notes: What the reader must know.
    """
    differences = _differences(candidates)
    seconds = interleaved(candidates, repeats)
    first = next(iter(seconds.values()))
    rows = tuple(
        Row(
            name,
            seconds=median(times),
            fastest=min(times),
            ratio=median(mine / its for mine, its in zip(times, first, strict=True)),
            figures={**differences[name], **(figures or {}).get(name, {})},
        )
        for name, times in seconds.items()
    )
    return Group(title, rows, tuple(notes))


def without_result(run: Candidate) -> Candidate:
    """Drop the result of a candidate: works of different sizes have nothing to compare."""

    def discarding() -> None:
        run()

    return discarding


def interleaved(candidates: Mapping[str, Candidate], repeats: int) -> dict[str, list[float]]:
    """Return the wall-clock seconds of each candidate in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def _differences(candidates: Mapping[str, Candidate]) -> dict[str, dict[str, float]]:
    first: tuple[np.ndarray, ...] | None = None
    differences: dict[str, dict[str, float]] = {}
    for name, run in candidates.items():
        result = _arrays(run())
        differences[name] = {DIFFERENCE: _difference(first, result)} if first and result else {}
        first = result if first is None else first
    return differences


def _arrays(result: Any) -> tuple[np.ndarray, ...]:
    if result is None:
        return ()
    parts = result if isinstance(result, tuple) else (result,)
    return tuple(np.asarray(part, dtype=np.float64) for part in parts)


def _difference(first: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> float:
    return max(
        float(np.abs(one - two).max() / max(np.abs(one).max(), np.finfo(np.float64).tiny))
        for one, two in zip(first, other, strict=True)
    )
