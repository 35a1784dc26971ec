"""Runs as processes of this machine, with a stand-in for `anticipate` that trains nothing."""

import io
import json
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

from anticipate.errors import ConfigError
from anticipate.lab.sweep.local import THREADS, LocalLauncher, Machine, shares
from anticipate.lab.sweep.run_sweep import board, task_table, work
from anticipate.lab.sweep.task import Task, take_lock

STAND_IN = """
import json, os, pathlib, signal, sys, time
folder, behaviour = pathlib.Path(sys.argv[2]), sys.argv[3]
began = time.monotonic()
print("threads", os.environ.get("OMP_NUM_THREADS"), flush=True)
if behaviour == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
print("epoch 2/5", flush=True)
if behaviour == "fail":
    sys.exit("no such thing")
if behaviour in ("stubborn", "long"):
    time.sleep(100)
time.sleep(0.2)
ratios = {"0.2": {"mean_moc": {"0.1": 12.5}, "top1_moc": {"0.1": 13.5}}}
scores = {"kind": "dense", "scores": {"MixANT": ratios}, "span": [began, time.monotonic()]}
(folder / "metrics.json").write_text(json.dumps(scores))
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "stand_in.py"
    path.write_text(STAND_IN)
    return (sys.executable, "-S", str(path))


@pytest.fixture
def task(folders):
    def make(name, behaviour="finish"):
        run = folders.run(name)
        return Task(run._replace(options=(str(run.folder), behaviour)))

    return make


def until(condition, launcher):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        launcher.poll()
        time.sleep(0.02)


def test_runs_go_on_when_one_fails_and_never_more_at_a_time_than_allowed(task, program):
    tasks = [task("a"), task("b", "fail"), task("c"), task("d"), task("e")]
    launcher = LocalLauncher([{"OMP_NUM_THREADS": "3"}, {}], program)
    launcher.launch(tasks)
    until(lambda: not any(task.open for task in tasks), launcher)
    assert [task.state for task in tasks] == ["finished", "failed", *["finished"] * 3]
    assert "no such thing" in tasks[1].log.read_text()
    assert "threads 3" in tasks[0].log.read_text()
    assert tasks[0].epoch() == "2/5"
    assert tasks[0].scores["mean MoC"] == 12.5
    documents = [json.loads((t.run.folder / "metrics.json").read_text()) for t in tasks if t.scores]
    spans = [document["span"] for document in documents]
    assert all(sum(a <= start < b for a, b in spans) <= 2 for start, _ in spans)


def test_stopping_interrupts_and_kills_whoever_does_not_end(task, program, monkeypatch):
    monkeypatch.setattr("anticipate.lab.sweep.local.PATIENCE", 0.5)
    tasks = [task("a", "long"), task("b", "stubborn"), task("c")]
    launcher = LocalLauncher([{}, {}], program)
    launcher.launch(tasks)
    until(lambda: tasks[1].epoch(), launcher)
    launcher.stop()
    assert [task.state for task in tasks] == ["stopped"] * 3
    assert not tasks[2].log.exists()
    for one in tasks[:2]:
        take_lock(one.run.folder).close()  # nobody holds it any more


def test_a_run_that_a_killed_sweep_left_is_awaited_and_not_doubled(task, program):
    orphan = task("a", "long")
    with take_lock(orphan.run.folder) as log:
        process = subprocess.Popen([*program, "fit", *orphan.run.options], stdout=log)
    launcher = LocalLauncher([{}], program)
    other = task("b")
    launcher.launch([orphan, other])
    launcher.poll()
    assert (orphan.state, other.state) == ("elsewhere", "waiting")
    process.kill()
    process.wait()
    until(lambda: not other.open, launcher)
    assert (orphan.state, other.state) == ("failed", "finished")


def test_a_run_that_somebody_finished_meanwhile_is_not_begun_again(task, program, folders):
    one = task("a")
    folders.finish(one.run, 33.0)
    launcher = LocalLauncher([{}], program)
    launcher.launch([one])
    until(lambda: not one.open, launcher)
    assert one.scores["mean MoC"] == 33.0
    assert one.log.read_text() == ""


@pytest.mark.parametrize(
    ("cores", "gpus", "jobs", "threads", "devices"),
    [
        (8, "", None, ["8"], [None]),
        (8, "", 2, ["4", "4"], [None, None]),
        (2, "", 2, ["1", "1"], [None, None]),
        (16, "01", None, ["8", "8"], ["0", "1"]),
        (16, "0123", 2, ["8", "8"], ["0,2", "1,3"]),
        (16, "01", 4, ["4"] * 4, ["0", "1", "0", "1"]),
        (1, "01", None, ["1"], ["0,1"]),
    ],
)
def test_jobs_share_cores_and_gpus(cores, gpus, jobs, threads, devices):
    environments = shares(Machine(cores, tuple(gpus)), jobs)
    assert [environment.get("CUDA_VISIBLE_DEVICES") for environment in environments] == devices
    for name in THREADS:
        assert [environment[name] for environment in environments] == threads


def test_more_jobs_than_cores_are_refused():
    with pytest.raises(ConfigError, match="--jobs 3: this machine gives 2 cores"):
        shares(Machine(2, ()), 3)


def test_without_a_terminal_each_change_is_one_line(task, capsys):
    one, two = task("a"), task("b")
    with board([one, two], Console(file=io.StringIO())) as show:
        one.begin("running")
        show()
        show()
        one.end()
    assert capsys.readouterr().err.splitlines() == [
        "a split 1 seed 0  running",
        "a split 1 seed 0  failed",
    ]


def test_on_a_terminal_one_table_counts_what_waits(task):
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    one, two = task("a"), task("b")
    with board([one, two], console) as show:
        one.begin("running")
        show()
    assert "0 of 2 runs done, 1 waiting" in console.file.getvalue()
    assert task_table([one, two]).row_count == 1


def test_nohup_is_respected_and_a_job_in_the_background_can_be_stopped():
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT)}
    try:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        work(LocalLauncher([{}]), [])
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
