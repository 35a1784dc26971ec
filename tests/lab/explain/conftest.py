"""A trained AGA for the analyses that look at one."""

from pathlib import Path

import lightning.pytorch  # noqa: F401  its log handler must meet the stderr of the session, not of one test
import pytest

from anticipate.cli import main

EXPERIMENTS = Path(__file__).parents[3] / "experiments"


@pytest.fixture(scope="session")
def aga_checkpoint(tmp_path_factory, actions_file):
    """A tiny AGA after one step of training: clips of 5 steps, a memory of 3."""
    runs = tmp_path_factory.mktemp("aga_runs")
    options = ["--model.network.hidden_dim=8", "--model.network.num_heads=2"]
    options += ["--model.network.queue_length=3", "--trainer.limit_test_batches=0"]
    options += ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1"]
    options += ["--trainer.enable_progress_bar=false", "--short_term_results.baselines=false"]
    options += ["--data.num_steps=5", f"--data.path={actions_file}", f"--run_dir={runs}"]
    main(["fit", "--config", str(EXPERIMENTS / "aga_demo.yaml"), *options])
    return runs / "aga_demo/split_1/seed_0/checkpoints/last.ckpt"
