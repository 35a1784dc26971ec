"""Two processes of one training are Lightning's own work: they test as one process does."""

import json
import os
import subprocess
import sys

import pytest

from anticipate.training.settings import flatten

TRAININGS = """
import json, sys
from anticipate.cli import main
for words in json.loads(sys.argv[1]):
    main(words)
"""
"""A program that Lightning starts again for the other process, as it does the console script."""
UNEVEN = ("--data.limit_test_videos=5", "--data.eval_batch_size=1")
"""Options that give three videos to one process and two to the other."""


def scores(command):
    return flatten(json.loads((command.folder / "metrics.json").read_text())["scores"])


@pytest.mark.slow
def test_two_processes_train_and_score_as_one_does(demo, aga_demo, tmp_path):
    demo.words += UNEVEN
    program = tmp_path / "trainings.py"
    program.write_text(TRAININGS)
    two = ("--trainer.devices=2", "--trainer.strategy=ddp")
    both = [["fit", *command.words, *two] for command in (demo, aga_demo)]
    result = subprocess.run(
        [sys.executable, str(program), json.dumps(both)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    for command in (demo, aga_demo):
        together = scores(command)
        command("test", "--ckpt_path=last", "--trainer.devices=1")
        alone = scores(command)
        assert together == pytest.approx(alone, rel=1e-12)  # sums in another order
        assert len(alone) > 5
