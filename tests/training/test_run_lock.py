"""One process at a time trains in a run folder."""

import json
import multiprocessing
import os
import time

import pytest

from anticipate.errors import RunExistsError
from anticipate.files import LOCK
from anticipate.lab.sweep.task import take_lock
from anticipate.training.run_lock import STALE, RunLock, is_training

FORK = multiprocessing.get_context("fork")


def hold(folder, taken):
    RunLock().acquire(folder)
    taken.set()
    time.sleep(60)


@pytest.fixture
def holder(tmp_path):
    """Another process that has the lock of a folder."""
    taken = FORK.Event()
    process = FORK.Process(target=hold, args=(tmp_path, taken))
    process.start()
    assert taken.wait(30)
    yield process
    process.kill()
    process.join()


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path, holder):
    with pytest.raises(RunExistsError, match="another process trains in it: wait for its end"):
        RunLock().acquire(tmp_path)
    assert is_training(tmp_path)
    assert take_lock(tmp_path) is None  # a sweep sees it, too
    holder.kill()
    holder.join()
    lock = RunLock()
    lock.acquire(tmp_path)
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    lock.release()
    assert not (tmp_path / LOCK).exists()
    assert not is_training(tmp_path)


def test_a_process_of_another_machine_counts_as_long_as_its_heart_beats(tmp_path):
    path = tmp_path / LOCK
    path.write_text(json.dumps({"host": "node17", "pid": 4}))
    with pytest.raises(RunExistsError, match="process 4 on node17 trains in it"):
        RunLock().acquire(tmp_path)
    past = time.time() - STALE - 1
    os.utime(path, (past, past))
    lock = RunLock()
    lock.acquire(tmp_path)
    lock.release()


def test_what_a_killed_process_left_does_not_stop_a_sweep(tmp_path, holder):
    holder.kill()
    holder.join()
    log = take_lock(tmp_path)
    assert log is not None
    log.close()
    assert not (tmp_path / LOCK).exists()
