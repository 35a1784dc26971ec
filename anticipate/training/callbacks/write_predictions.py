"""The predictions file of `anticipate predict`: what `anticipate score` reads, for either task."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from anticipate.console import notice
from anticipate.errors import ConfigError
from anticipate.files import PREDICTIONS
from anticipate.models.dense_anticipator import DenseAnticipator
from anticipate.models.short_term_anticipator import ShortTermAnticipator
from anticipate.protocol.dense_predictions import DensePredictionsWriter
from anticipate.protocol.short_term_predictions import ShortTermPredictionsWriter
from anticipate.types import DenseBatch, DenseForecast, ShortTermBatch, ShortTermForecast, TickBatch

__all__ = ["PredictionsFile"]


Writer = DensePredictionsWriter | ShortTermPredictionsWriter


class PredictionsFile(Callback):
    """Writes `predictions.h5` when predicting: what `anticipate score` reads.

    Args:
        path: File to write; null for `predictions.h5` in the run folder.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        self._writer: Writer | None = None

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the file under a temporary name.

        Raises:
            ConfigError: Several processes would write it.
        """
        if trainer.world_size > 1:
            raise ConfigError("predict writes one file from one process: set --trainer.devices 1")
        path = Path(self.path or Path(trainer.log_dir or ".") / PREDICTIONS)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = _open(path, pl_module, trainer.datamodule)  # type: ignore[attr-defined]

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: int
    ) -> None:
        """Add the forecasts of a batch."""
        if isinstance(self._writer, ShortTermPredictionsWriter):
            _add_rows(self._writer, batch, outputs)
        else:
            assert self._writer is not None
            _add_videos(self._writer, batch, outputs)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the file its final name and say it."""
        assert self._writer is not None
        path = self._writer.path
        self._close(None)
        notice(f"predictions: {path}")

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Remove the unfinished file."""
        self._close(type(exception))

    def _close(self, error: type[BaseException] | None) -> None:
        if self._writer is not None:
            self._writer.__exit__(error, None, None)
            self._writer = None


def _open(path: Path, model: pl.LightningModule, data: Any) -> Writer:
    about = {"dataset": data.dataset, "split": data.split, "synthetic": data.synthetic}
    if isinstance(model, ShortTermAnticipator):
        own = data.protocol.taxonomy[2:] if model.scores_verbs_and_nouns else ()
        return ShortTermPredictionsWriter(path, data.num_classes, own, **about).__enter__()
    assert isinstance(model, DenseAnticipator)  # the command line pairs models and data
    about |= {"method": model.method, "observation": model.observation}
    return DensePredictionsWriter(path, **about).__enter__()


def _add_rows(
    writer: ShortTermPredictionsWriter,
    batch: ShortTermBatch | TickBatch,
    forecast: ShortTermForecast,
) -> None:
    """Keep what the last step predicts, which is what is scored."""
    writer.add(batch.segment_ids, forecast.evaluated.float().cpu().numpy())


def _add_videos(writer: DensePredictionsWriter, batch: DenseBatch, forecast: DenseForecast) -> None:
    """Keep the sampled futures, cut at the end of each video."""
    for video in forecast.videos(batch):
        writer.add(video.video_id, video.obs_ratio, video.preds.cpu().numpy())
