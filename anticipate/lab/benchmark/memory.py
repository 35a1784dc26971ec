"""Peak memory of a piece of work, in a process of its own.

Linux only: the kernel's high-water mark of resident memory can be reset there, so that the mark of
imports, of compiling and of a parent process does not hide that of the work.
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

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
