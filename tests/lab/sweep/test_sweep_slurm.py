"""Job arrays: what is asked of SLURM, and a sweep on a real cluster where one is up."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
import yaml

from anticipate.errors import ConfigError
from anticipate.lab.sweep import slurm
from anticipate.lab.sweep.slurm import SlurmLauncher, parameters, states
from anticipate.lab.sweep.task import Task

submitit_missing = pytest.mark.skipif(
    "submitit" not in sys.modules and not slurm.find_spec("submitit"),
    reason="submitit (extra `cluster`) is not installed",
)


@submitit_missing
def test_a_job_asks_to_be_requeued_with_lightning_s_signal(tmp_path):
    from submitit.slurm.slurm import _make_sbatch_string

    given = parameters(["partition=gpu", "cpus-per-task=4", "reservation=mine", "time=30"], 3)
    text = _make_sbatch_string("true", tmp_path, map_count=8, **given)
    for line in (
        *("--partition=gpu", "--cpus-per-task=4", "--reservation=mine", "--time=30"),
        *("--array=0-7%3", "--signal=USR1@90", "--requeue"),
    ):
        assert f"#SBATCH {line}\n" in text
    assert "export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}" in text


@pytest.mark.parametrize("missing", ["submitit", "sbatch"])
def test_what_is_missing_is_said(tmp_path, monkeypatch, missing):
    monkeypatch.setattr(slurm, "find_spec", lambda name: None if name == missing else True)
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None if name == missing else name)
    expected = {"submitit": "pip install 'anticipate", "sbatch": "no sbatch here"}
    with pytest.raises(ConfigError, match=expected[missing]):
        SlurmLauncher(tmp_path, None, [])


@pytest.fixture
def queue(monkeypatch, tmp_path):
    """A launcher whose queue and submission are made up."""
    content = {}
    monkeypatch.setattr(slurm, "find_spec", lambda name: True)
    monkeypatch.setattr(slurm.shutil, "which", lambda name: name)
    monkeypatch.setattr(slurm, "parameters", lambda options, jobs: {})
    monkeypatch.setattr(slurm, "states", lambda: None if content.get("busy") else dict(content))
    launcher = SlurmLauncher(tmp_path, None, [], interval=0.0)
    return launcher, content


def test_jobs_in_the_queue_are_followed_instead_of_submitted_again(queue, folders):
    launcher, content = queue
    task = Task(folders.run())
    task.run.folder.mkdir(parents=True)
    (task.run.folder / slurm.JOB).write_text("7_0\n")
    content["7_0"] = "PENDING"
    launcher.launch([task])
    seen = [task.state]
    for state in ("RUNNING", "PENDING", "RUNNING"):
        content["7_0"] = state
        launcher.poll()
        seen.append(task.state)
    assert seen == ["queued", "running", "queued", "running"]
    assert "scancel 7_0" in launcher.stop()
    content["busy"] = True
    launcher.poll()
    assert task.state == "running", "no answer says nothing"
    content.clear()
    launcher.poll()
    assert task.state == "running", "its files may come late"
    folders.finish(task.run, 20.0)
    launcher.poll()
    assert task.state == "finished"
    assert task.scores["mean MoC"] == 20.0


cluster = pytest.mark.skipif(
    not (shutil.which("sbatch") and os.environ.get("ANTICIPATE_SLURM")),
    reason="no SLURM: start one with tests/slurm/start.sh and export what it prints",
)


@cluster
@submitit_missing
def test_a_cluster_trains_an_array_and_goes_on_after_a_requeue(tmp_path, experiments):
    options = ["--set", "trainer.max_epochs=15", "--launcher", "slurm", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "anticipate", "sweep", str(experiments), *options],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "runs/base/split_1/seed_0/sweep.log"
    deadline = time.monotonic() + 240
    while not (log.exists() and "epoch 3/15" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    job = (log.parent / slurm.JOB).read_text().strip()
    assert job in states()
    subprocess.run(["scancel", "--signal=USR1", job], check=True)
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0
    assert all(run["scores"] for run in json.loads(output)["runs"])
    text = log.read_text()
    assert "Requeued SLURM job" in text
    assert text.count("epoch 1/15") == 1, "it went on after its last epoch"
    assert yaml.safe_load((log.parent / "config.yaml").read_text())["ckpt_path"] == "last"
