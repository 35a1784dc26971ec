"""Two processes of one training are Lightning's own work: they test as one process does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import lightning.pytorch  # noqa: F401  its log handler must meet the stderr of the session, not of one test
import pytest

from anticipate.cli import main
from anticipate.training.settings import flatten

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
TWO = ("--trainer.devices=2", "--trainer.strategy=ddp")
COMMON = (
    *("--trainer.accelerator=cpu", "--trainer.max_epochs=1", "--trainer.limit_train_batches=2"),
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    *("--data.batch_size=4", "--figures.num_videos=1"),
)
MIXANT = (
    *("--model.denoiser.d_model=8", "--model.denoiser.num_layers=2"),
    *("--model.denoiser.num_static_layers=1", "--model.denoiser.d_state=2"),
    *("--model.num_samples=2", "--model.num_inference_steps=2"),
    *("--data.eval_batch_size=1", "--data.limit_test_videos=5"),  # three for one, two for the other
)
AGA = ("--model.network.hidden_dim=8", "--model.network.num_heads=2")


def fit(folder, *options):
    """Train in a process of its own, which starts the other one."""
    result = subprocess.run(
        [sys.executable, "-m", "anticipate", "fit", *options],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]


def scores(folder, name):
    document = json.loads((folder / f"runs/{name}/split_1/seed_0/metrics.json").read_text())
    return flatten(document["scores"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "options"),
    [("demo", "synthetic_file", MIXANT), ("aga_demo", "actions_file", AGA)],
    ids=["mixant", "aga"],
)
def test_two_processes_train_and_score_as_one_does(
    tmp_path, monkeypatch, request, name, file, options
):
    words = (
        *("--config", str(EXPERIMENTS / f"{name}.yaml"), *COMMON, *options),
        f"--data.path={request.getfixturevalue(file)}",
    )
    fit(tmp_path, *words, *TWO)
    together = scores(tmp_path, name)
    monkeypatch.chdir(tmp_path)
    main(["test", *words, "--trainer.devices=1", "--ckpt_path=last"])
    alone = scores(tmp_path, name)
    assert together == pytest.approx(alone, rel=1e-12)  # sums in another order
    assert len(alone) > 5
