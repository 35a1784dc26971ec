"""Forecasts of a run as timelines, in TensorBoard and as files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn

from anticipate.datasets.batches.buckets import Draw
from anticipate.datasets.batches.dense_items import DenseDataset, collate_dense
from anticipate.datasets.batches.dense_module import DenseDataModule
from anticipate.datasets.batches.subsets import spread
from anticipate.figures.saved import (
    TRUTH,
    Timeline,
    timeline_name,
    write_timeline,
)
from anticipate.figures.timeline_figure import timeline_figure
from anticipate.files import FIGURES
from anticipate.horizons import observed_frames, target_frames
from anticipate.models.dense_anticipator import OWN_LABELS, DenseAnticipator
from anticipate.training.callbacks.drawing import add_figure, check_count, data_of, note, writers
from anticipate.types import DenseBatch, DenseForecast, ForecastVideo

__all__ = ["ForecastFigures"]


class ForecastFigures(Callback):
    """Draws observed, true and sampled futures of a few videos, evenly spread over the data.

    While training, TensorBoard gets videos that are held out for validation or, when there are
    none, training videos; never test videos. A test draws test videos at every observation ratio,
    also into `figures/` of the run folder, as pictures and as JSON that reports draw again.

    Args:
        num_videos: Videos to draw.
        num_samples: Futures of each video to draw.
        every_n_epochs: Epochs of training from one drawing to the next.

    Raises:
        ConfigError: A count below 1, or no data set that knows the names of its classes.
    """

    def __init__(self, num_videos: int = 2, num_samples: int = 3, every_n_epochs: int = 10) -> None:
        check_count("num_videos", num_videos)
        check_count("num_samples", num_samples)
        check_count("every_n_epochs", every_n_epochs)
        self.num_videos, self.num_samples = num_videos, num_samples
        self.every_n_epochs = every_n_epochs
        self._test_videos: tuple[str, ...] = ()
        self._folder: Path | None = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the timelines of the epoch to TensorBoard."""
        due = (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if not (due and trainer.is_global_zero and writers(trainer)):
            return
        if not isinstance(pl_module, DenseAnticipator):
            return
        batch = self._training_batch(data_of(trainer))
        forecast = _forecast(trainer, pl_module, batch)
        for video in forecast.videos(batch):
            figure = _draw(self._timeline(data_of(trainer), video), data_of(trainer), pl_module)
            add_figure(trainer, f"forecast/{video.video_id}", figure)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the videos and the folder."""
        # `log_dir` is a broadcast: every process has to ask, and equally often.
        log_dir = trainer.log_dir if trainer.loggers else None
        self._folder = Path(log_dir) / FIGURES if log_dir else None
        drawn = self._folder is not None and isinstance(pl_module, DenseAnticipator)
        self._test_videos = spread(data_of(trainer).test_videos, self.num_videos) if drawn else ()

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the chosen videos of the batch; each is in the batches of one process."""
        if not self._test_videos or not isinstance(pl_module, DenseAnticipator):
            return
        for video in outputs["forecast"].videos(batch):
            if video.video_id in self._test_videos:
                self._save(trainer, self._timeline(data_of(trainer), video), pl_module)

    def _save(self, trainer: pl.Trainer, timeline: Timeline, model: DenseAnticipator) -> None:
        assert self._folder is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        figure = _draw(timeline, data_of(trainer), model)
        name = timeline_name(timeline.video_id, timeline.obs_ratio)
        write_timeline(self._folder, timeline)
        tag = f"forecast_test/{timeline.video_id}_obs{timeline.obs_ratio}"
        add_figure(trainer, tag, figure, self._folder / f"{name}.png")

    def _training_batch(self, data: DenseDataModule) -> DenseBatch:
        videos = spread(data.val_videos or data.train_videos, self.num_videos)
        dataset = DenseDataset(data.store, videos, data.obs_ratios[:1], data.sample_rate)
        return collate_dense([dataset[Draw(item, 0)] for item in range(len(dataset))])

    def _timeline(self, data: DenseDataModule, video: ForecastVideo) -> Timeline:
        end = target_frames(video.num_frames, video.obs_ratio)
        rows = {TRUTH: video.targets[:end].cpu().numpy()}
        for index, preds in enumerate(video.preds[: self.num_samples, :end].cpu()):
            rows[f"sample {index + 1}"] = preds.numpy()
        observed = observed_frames(video.num_frames, video.obs_ratio)
        fps = float(data.store.fps)
        return Timeline(video.video_id, video.obs_ratio, observed, fps, data.vocabulary, rows)


def _draw(timeline: Timeline, data: DenseDataModule, model: DenseAnticipator) -> Any:
    own = model.observation == OWN_LABELS
    labels_from = "" if own else f"observed: {model.observation}"
    part = " (training video)" if timeline.video_id in data.train_videos else ""
    return timeline_figure(
        timeline.rows,
        timeline.observed_frames,
        timeline.classes,
        timeline.fps,
        f"{timeline.video_id}{part}, {100 * timeline.obs_ratio:g} % observed",
        ", ".join(filter(None, (note(data), labels_from))),
    )


def _forecast(trainer: pl.Trainer, model: DenseAnticipator, batch: DenseBatch) -> DenseForecast:
    """DenseForecast as a test would, leaving no trace in the training."""
    precision = trainer.precision_plugin.forward_context()
    with _evaluating(model), isolate_rng(), torch.no_grad(), precision:
        return model.forecast(move_data_to_device(batch, model.device))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation; afterwards each module is in its own mode again, frozen ones too."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
