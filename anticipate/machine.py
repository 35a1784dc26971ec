"""The machine that a program runs on: its processor and the memory of the program."""

import ctypes
import os
import platform
import sys
from pathlib import Path

_CPU_FACTS = Path("/proc/cpuinfo")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Options of glibc's mallopt: how much freed memory it keeps, up to which size it keeps blocks."""
KEPT_BYTES = 10**9
SPINS = "1000"
"""Turns of a waiting thread before it sleeps, some microseconds."""
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def cpu_name() -> str:
    """Return the name of the processor."""
    if _CPU_FACTS.is_file():
        for line in _CPU_FACTS.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def knows_memory_peak() -> bool:
    """Tell whether the system keeps a mark of the most memory a process held, as Linux does."""
    return _RESET.exists()


def reset_memory_peak() -> None:
    """Let the mark fall to what is resident now; where there is none, nothing happens."""
    if knows_memory_peak():
        _RESET.write_text("5")  # the kernel's code for it


def memory_peak() -> int | None:
    """Return the most bytes that were resident since the start or the last reset, if known."""
    if not knows_memory_peak():
        return None
    fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    kibibytes, _ = fields["VmHWM"].split()
    return int(kibibytes) * 1024


def let_idle_threads_sleep() -> None:
    """Let OpenMP's threads sleep soon when they wait; has an effect before torch is imported.

    They spin for milliseconds by default, on cores that others want: next to one busy process a
    training took up to three times the CPU seconds. A user's own setting is kept.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def keep_freed_memory() -> None:
    """Let the allocator keep what is freed, up to a gigabyte, for the next allocations.

    glibc gives large blocks back to the system, which clears every page when it hands them out
    again: a denoising step, whose tensors are all large, takes 1.2 to 1.5 times as long. Other
    allocators stay as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, KEPT_BYTES)
