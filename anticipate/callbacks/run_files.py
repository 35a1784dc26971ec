"""Files of a run folder: its configuration and its predictions."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_only

from anticipate.errors import ConfigError, RunExistsError
from anticipate.predictions.dense import DensePredictionsWriter
from anticipate.types import DenseBatch, Forecast


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
    if folder and (folder / "config.yaml").exists():
        raise RunExistsError(
            f"{folder} already holds a run: resume it with --ckpt_path last, remove it, "
            "or choose another --run_name or --seed_everything"
        )


class PredictionsFile(Callback):
    """Writes `predictions.h5` when predicting: what `anticipate score dense` reads.

    Args:
        path: File to write; null for `predictions.h5` in the run folder.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        self._writer: DensePredictionsWriter | None = None

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the file under a temporary name.

        Raises:
            ConfigError: Several processes would write it.
        """
        if trainer.world_size > 1:
            raise ConfigError("predict writes one file from one process: set --trainer.devices 1")
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        path = Path(self.path or Path(trainer.log_dir or ".") / "predictions.h5")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = DensePredictionsWriter(
            path, dataset=data.dataset, split=data.split, synthetic=data.synthetic
        ).__enter__()

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Forecast,
        batch: DenseBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the forecasts of a batch, cut at the end of each video."""
        assert self._writer is not None
        for row, video_id in enumerate(batch.video_ids):
            preds = outputs.preds[:, row, : int(batch.num_frames[row])]
            self._writer.add(video_id, batch.obs_ratios[row], preds.cpu().numpy())

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the file its final name."""
        self._close(None)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Remove the unfinished file."""
        self._close(type(exception))

    def _close(self, error: type[BaseException] | None) -> None:
        if self._writer is not None:
            self._writer.__exit__(error, None, None)
            self._writer = None
