"""Two processes of one training are Lightning's own work: they test as one process does."""

import json
import os
import subprocess
import sys

import pytest

from anticipate.training.settings import flatten

UNEVEN = {"demo": ("--data.limit_test_videos=5", "--data.eval_batch_size=1"), "aga_demo": ()}
"""Options that give three videos to one process and two to the other."""


def scores(command):
    return flatten(json.loads((command.folder / "metrics.json").read_text())["scores"])


@pytest.mark.slow
@pytest.mark.parametrize("task", UNEVEN)
def test_two_processes_train_and_score_as_one_does(request, task):
    command = request.getfixturevalue(task)
    command.words += UNEVEN[task]
    two = ("--trainer.devices=2", "--trainer.strategy=ddp")
    result = subprocess.run(  # it starts the other process
        [sys.executable, "-m", "anticipate", "fit", *command.words, *two],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    together = scores(command)
    command("test", "--ckpt_path=last", "--trainer.devices=1")
    alone = scores(command)
    assert together == pytest.approx(alone, rel=1e-12)  # sums in another order
    assert len(alone) > 5
