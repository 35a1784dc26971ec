"""A run folder: its configuration, and that no other run writes into it."""

from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_only

from anticipate.errors import RunExistsError
from anticipate.files import CONFIG


class SaveRunConfig(SaveConfigCallback):
    """Writes `config.yaml` before training; other commands write `config.test.yaml` and so on."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write the file where there is a run folder."""
        if not trainer.loggers:
            return
        command = trainer.state.fn.value if trainer.state.fn else stage
        if command != "fit":
            self.config_filename = f"config.{command}.yaml"
        self.overwrite = True  # `refuse_existing_run` has spoken before anything was written
        super().setup(trainer, pl_module, stage)


@rank_zero_only
def refuse_existing_run(trainer: pl.Trainer) -> None:
    """Keep a new run out of the folder of another.

    Raises:
        RunExistsError: The run folder already holds a configuration.
    """
    folder = Path(trainer.log_dir) if trainer.loggers and trainer.log_dir else None
    if folder and (folder / CONFIG).exists():
        raise RunExistsError(
            f"{folder} already holds a run: resume it with --ckpt_path last, remove it, "
            "or choose another --run_name or --seed_everything"
        )
