"""A small team of threads for compiled CPU kernels, as many as torch uses.

Threads are plain ones of a pool that every process makes for itself at its first call: numba's own
do not survive a fork and may not be entered from two threads at a time.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

PARTS = 4
"""Parts that the work of a call is cut into, per thread."""


def team_size(items: int) -> int:
    """Return how many threads work on `items` items: torch's number, or fewer."""
    return max(1, min(torch.get_num_threads(), items))


def share(items: int, run: Callable[[int, int, int], None]) -> None:
    """Run all items on a team of threads, the calling one among them.

    Args:
        items: Pieces of work that do not depend on each other.
        run: Called with the number of a thread, below `team_size(items)`, and the span of items
            (first, last exclusive) that it shall do; releases the interpreter's lock.
    """
    threads = team_size(items)
    parts = min(items, threads * PARTS)
    # Whoever is free takes the next part, so a processor that others use delays little.
    spans = iter([(items * n // parts, items * (n + 1) // parts) for n in range(parts)])

    def work(thread: int) -> None:
        for first, last in spans:
            run(thread, first, last)

    others = [_pool(os.getpid(), threads).submit(work, n) for n in range(1, threads)]
    work(0)
    for other in others:
        other.result()


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return the threads of this process; those of its parent do not survive a fork."""
    return ThreadPoolExecutor(threads, thread_name_prefix="anticipate")
