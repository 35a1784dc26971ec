"""Sharing work among threads: every item is done once, on OpenMP's threads and on plain ones."""

import logging
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import ccallback

from anticipate.nn.cpu import team
from anticipate.nn.cpu.lanes import get, inline, put
from anticipate.nn.cpu.team import ARGUMENTS, Kernel, launch, own_scratch, reader, take


class Work(NamedTuple):
    """Arguments of the kernels below."""

    counts: int


class Scratch(NamedTuple):
    """Memory of one thread."""

    done: int


_read_work, _read_scratch = reader(Work), reader(Scratch)


@inline
def _add_one(address, index):
    put(address, index, get(address, index) + np.float32(1))


@Kernel
def count(address):
    """Add one to the count of each item, and to the number of items that this thread did."""
    (counts,) = _read_work(address + ARGUMENTS)
    (done,) = _read_scratch(own_scratch(address))
    first, last = take(address)
    while first < last:
        for item in range(first, last):
            _add_one(counts, item)
            _add_one(done, 0)
        first, last = take(address)


@pytest.fixture(params=["openmp", "plain"])
def threads_of(request):
    """Run on either kind of threads, and leave torch's number of them as it was."""
    threads = torch.get_num_threads()
    if request.param == "openmp":
        yield
    else:
        with patch.object(team, "_openmp_region", lambda process: None):
            yield
    torch.set_num_threads(threads)


def run(items, threads):
    torch.set_num_threads(threads)
    counts, done = torch.zeros(max(items, 1)), torch.zeros(threads, 16)
    launch(count, items, Work(counts.data_ptr()), lambda n: Scratch(done[n].data_ptr()))
    return counts[:items], done[:, 0]


@pytest.mark.usefixtures("threads_of")
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("items", [0, 1, 2, 7, 100])
def test_every_item_is_done_once(items, threads):
    counts, done = run(items, threads)
    assert counts.tolist() == [1] * items
    assert done.sum() == items


@settings(max_examples=50, deadline=None)
@given(items=st.integers(1, 300), threads=st.integers(1, 4))
def test_threads_have_memory_of_their_own(items, threads):
    before = torch.get_num_threads()
    _, done = run(items, threads)
    torch.set_num_threads(before)
    assert done.sum() == items


def test_kernels_run_without_a_cache_folder(monkeypatch, caplog):
    def refuse(compiled):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(ccallback.CFunc, "enable_caching", refuse)
    kernel = Kernel(count.function)
    counts, done = torch.zeros(3), torch.zeros(1)
    with caplog.at_level(logging.INFO, logger=team.logger.name):
        launch(kernel, 3, Work(counts.data_ptr()), lambda n: Scratch(done.data_ptr()))
    assert counts.tolist() == [1, 1, 1]
    assert "NUMBA_CACHE_DIR" in caplog.text
