"""`anticipate sweep` as a user runs it: real trainings, tiny ones."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

import anticipate.training.lightning_cli  # noqa: F401  what a sweep imports, before it is forked
from anticipate.cli import main


@pytest.fixture
def words(experiments):
    """A sweep over two runs of eight epochs with the same settings."""
    paths = (str(experiments / name) for name in ("base.yaml", "study/3.yaml"))
    return ["sweep", *paths, "--set", "trainer.max_epochs=8", "--json"]


@pytest.fixture
def sweep(tmp_path, words, monkeypatch):
    """The sweep in a fork, which need not import anything, killed in the end whatever happens."""
    monkeypatch.chdir(tmp_path)
    process = multiprocessing.get_context("fork").Process(target=main, args=(words,), daemon=True)
    process.start()
    yield process
    process.kill()
    process.join()


def wait_for(path, text):
    deadline = time.monotonic() + 120
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds a process through /proc")
def test_a_sweep_survives_being_killed_and_ends_with_all_scores(sweep, words, tmp_path, capsys):
    log = tmp_path / "runs/base/split_1/seed_0/sweep.log"
    wait_for(log, "epoch 2/8")
    sweep.kill()
    sweep.join()
    for pid in holders(log):  # its run, which outlives it
        os.kill(pid, signal.SIGKILL)
    main(words)
    output, said = capsys.readouterr()
    assert "to do: 1 of 2 runs" in said
    epochs = [line for line in log.read_text().splitlines() if line.startswith("epoch ")]
    assert epochs.count("epoch 1/8") == 1, "it went on"
    assert epochs[-1] == "epoch 8/8"
    trained, shared = json.loads(output)["runs"]
    assert (trained["run_name"], shared["run_name"]) == ("base", "study/3")
    assert shared["same_as"] == "runs/base/split_1/seed_0"
    assert shared["scores"] == trained["scores"]
    assert "mean MoC" in trained["scores"]


def holders(path):
    """Return the processes that have a file open."""
    found = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdecimal() and has(p, path)]
    assert found
    return found


def has(process, path):
    try:
        return any(link.resolve() == path for link in (process / "fd").iterdir())
    except OSError:
        return False
