"""Trainings as small as they can be: the sizes that all tests share, and how commands are run."""

from pathlib import Path

from anticipate.cli import main

QUIET = (
    *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"),
    "--trainer.enable_model_summary=false",
)
SIZES = {
    "demo": (
        *("--model.denoiser.d_model=8", "--model.denoiser.d_state=2"),
        *("--model.denoiser.num_layers=3", "--model.denoiser.num_static_layers=1"),
        *("--model.num_samples=2", "--model.num_inference_steps=2"),
        *("--figures.num_videos=1", "--figures.num_samples=1", "--expert_usage.every_n_epochs=99"),
    ),
    "aga_demo": (
        *("--model.network.hidden_dim=8", "--model.network.num_heads=2"),
        *("--model.network.queue_length=3", "--data.num_steps=5", "--data.batch_size=8"),
    ),
}
"""Options of the small experiments, by name: three blocks, two of them mixtures of 3 experts."""
SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=3")
UNTESTED = "--trainer.limit_test_batches=0"
"""Leaves out the test that ends a training, where only the training counts."""


class Commands:
    """Commands of training on a small experiment, in the current folder.

    Args:
        experiment: A key of `SIZES`.
        data: Data file.
    """

    def __init__(self, experiment: str, data: Path) -> None:
        self.folder = Path("runs", experiment, "split_1", "seed_0")
        self.checkpoint = self.folder / "checkpoints" / "last.ckpt"
        self.words = ("--config", f"experiments/{experiment}.yaml", f"--data.path={data}")
        self.words += (*QUIET, *SIZES[experiment], *SHORT)

    def __call__(self, command: str, *options: str) -> None:
        main([command, *self.words, *options])
