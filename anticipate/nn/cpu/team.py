"""Compiled kernels on torch's own team of OpenMP threads.

A kernel is compiled to machine code with the signature of an OpenMP region, which every thread of
the team enters once. All of them share one block of memory: counters from which they take the next
part of the work, then the kernel's arguments, then scratch memory of each thread. Launching costs
microseconds, no thread waits for the interpreter's lock, and no second team competes with torch's
for the cores.
"""

import ctypes
import logging
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints, no_type_check

import torch
from llvmlite import ir
from numba import cfunc, types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

from anticipate.nn.cpu.lanes import inline

PARTS = 4
"""Parts that the work of a call is cut into, per thread."""
INTEGER = 8
"""Bytes of every number in the shared memory."""
logger = logging.getLogger(__name__)


class Header(NamedTuple):
    """What precedes a kernel's arguments."""

    entered: int
    """Threads that have entered."""
    taken: int
    """Parts that have been taken."""
    parts: int
    items: int
    scratch: int
    """Address of the scratch arguments of the first thread; those of the others follow."""
    scratch_size: int
    """Bytes of the scratch arguments of a thread."""


ARGUMENTS = len(Header._fields) * INTEGER
"""Where in the shared memory a kernel's arguments are."""
_TAKEN, _PARTS, _ITEMS, _SCRATCH, _SCRATCH_SIZE = range(INTEGER, ARGUMENTS, INTEGER)


def reader(layout: type) -> Any:
    """Return a compiled function that reads a NamedTuple of integers, nested or not, at an address.

    Args:
        layout: Class of the tuple.
    """
    kind = _numba_type(layout)

    @intrinsic
    def read(typing_context: Any, address: Any) -> tuple[Signature, Any]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = context.get_value_type(kind).as_pointer()
            return builder.load(builder.inttoptr(arguments[0], pointer), align=INTEGER)

        return kind(types.intp), generate

    return read


def _numba_type(layout: Any) -> Any:
    if not hasattr(layout, "_fields"):
        return types.int64
    hints = get_type_hints(layout)
    return types.BaseTuple.from_types([_numba_type(hints[f]) for f in layout._fields], layout)


@intrinsic
def _fetch(typing_context: Any, address: Any) -> tuple[Signature, Any]:
    """Return the integer at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load(pointer, align=INTEGER)

    return types.int64(types.intp), generate


@intrinsic
def _count(typing_context: Any, address: Any) -> tuple[Signature, Any]:
    """Return the integer at an address and add one to it; no two threads get the same."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", pointer, ir.IntType(64)(1), "monotonic")

    return types.int64(types.intp), generate


@inline
@no_type_check
def take(team: int) -> tuple[int, int]:
    """Return the items (first, last exclusive) that this thread shall do next, or an empty span."""
    part, parts, items = _count(team + _TAKEN), _fetch(team + _PARTS), _fetch(team + _ITEMS)
    if part >= parts:
        return 0, 0
    return items * part // parts, items * (part + 1) // parts


@inline
@no_type_check
def own_scratch(team: int) -> int:
    """Return where the scratch arguments of this thread are; once per thread and launch."""
    return _fetch(team + _SCRATCH) + _count(team) * _fetch(team + _SCRATCH_SIZE)


class Kernel:
    """A function of the shared memory's address, compiled when it is first needed; kept on disk.

    Numba notices changes of the file of a function only, not of the functions it inlines. The name
    of the cached file therefore has a digest of this package and of that of the function in it.
    """

    def __init__(self, function: Callable[[int], None]) -> None:
        self.function = function

    @cached_property
    def address(self) -> int:
        """Where the compiled function is."""
        return int(self._compiled.address)

    @cached_property
    def entry(self) -> Callable[[int], None]:
        """The compiled function; gives up the interpreter's lock."""
        return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address)

    @cached_property
    def _compiled(self) -> Any:
        function = self.function
        folders = {Path(__file__).parent, Path(function.__code__.co_filename).parent}
        paths = sorted(path for folder in folders for path in folder.glob("*.py"))
        sources = b"".join(path.read_bytes() for path in paths)
        function.__qualname__ += f"_{sha256(sources).hexdigest()[:12]}"
        options: dict[str, Any] = {"error_model": "numpy"}
        try:
            return cfunc("void(intp)", cache=True, **options)(function)
        except RuntimeError:  # numba found no folder that it may write
            logger.info(
                "the CPU kernels are compiled in every process: set NUMBA_CACHE_DIR to keep them"
            )
            return cfunc("void(intp)", **options)(function)


def launch(
    kernel: Kernel,
    items: int,
    arguments: tuple[Any, ...],
    scratch: Callable[[int], tuple[int, ...]] | None = None,
) -> None:
    """Run a kernel on torch's number of threads.

    Args:
        kernel: What to run.
        items: Pieces of work that do not depend on each other.
        arguments: What the kernel reads behind the header.
        scratch: Returns the scratch arguments of a thread, counted from 0.
    """
    threads = team_size(items)
    own = [scratch(thread) for thread in range(threads)] if scratch else [()]
    numbers = [*_flat(arguments)]
    memory = (ctypes.c_int64 * (len(Header._fields) + len(numbers) + threads * len(own[0])))()
    address = ctypes.addressof(memory)
    memory[:] = [
        *Header(
            entered=0,
            taken=0,
            parts=min(items, threads * PARTS),
            items=items,
            scratch=address + ARGUMENTS + len(numbers) * INTEGER,
            scratch_size=len(own[0]) * INTEGER,
        ),
        *numbers,
        *chain(*own),
    ]
    if threads == 1:
        kernel.entry(address)
    elif (region := _openmp_region(os.getpid())) is not None:
        region(kernel.address, address, threads, 0)
    else:
        _run_on_plain_threads(kernel, address, threads)


def team_size(items: int) -> int:
    """Return how many threads work on `items` items: torch's number, or fewer."""
    return max(1, min(torch.get_num_threads(), items))


def _flat(value: Any) -> Iterator[int]:
    if isinstance(value, tuple):
        for part in value:
            yield from _flat(part)
    else:
        yield value


_PROCESS = os.getpid()
"""The process that has loaded torch; in its forks, OpenMP's threads are missing."""


@cache
def _openmp_region(process: int) -> Callable[[int, int, int, int], None] | None:
    """Return GOMP_parallel(function, data, threads, flags) of the OpenMP that torch has loaded."""
    if process != _PROCESS or sys.platform == "win32":
        return None
    region = getattr(ctypes.CDLL(None), "GOMP_parallel", None)
    if region is not None:
        region.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        region.restype = None
    return region


def _run_on_plain_threads(kernel: Kernel, address: int, threads: int) -> None:
    others = [_pool(os.getpid(), threads).submit(kernel.entry, address) for _ in range(1, threads)]
    kernel.entry(address)
    for other in others:
        other.result()


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return the threads of this process; those of its parent do not survive a fork."""
    return ThreadPoolExecutor(threads, thread_name_prefix="anticipate")
