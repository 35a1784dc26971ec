"""Figures of a run: forecasts as timelines and the use of experts, in TensorBoard and as files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from jaxtyping import Float
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from anticipate.data.buckets import Draw
from anticipate.data.datamodule import DenseDataModule
from anticipate.data.dense import DenseDataset, collate_dense
from anticipate.data.horizons import observed_frames, target_frames
from anticipate.data.subsets import spread
from anticipate.errors import ConfigError
from anticipate.models.dense import DenseAnticipator
from anticipate.models.diffusion import DiffusionAnticipator
from anticipate.nn.denoiser import DenoiserOutput
from anticipate.nn.mixture import expert_usage
from anticipate.report import figures
from anticipate.types import DenseBatch, Forecast


class ForecastFigures(Callback):
    """Draws observed, true and sampled futures of a few videos, evenly spread over the data.

    While training, TensorBoard gets videos that are held out for validation or, when there are
    none, training videos; never test videos. A test draws test videos at every observation ratio,
    also into `figures/` of the run folder.

    Args:
        num_videos: Videos to draw.
        num_samples: Futures of each video to draw.
        every_n_epochs: Epochs of training from one drawing to the next.

    Raises:
        ConfigError: A count below 1, or no data set that knows the names of its classes.
    """

    def __init__(self, num_videos: int = 2, num_samples: int = 3, every_n_epochs: int = 10) -> None:
        _check_count("num_videos", num_videos)
        _check_count("num_samples", num_samples)
        _check_count("every_n_epochs", every_n_epochs)
        self.num_videos, self.num_samples = num_videos, num_samples
        self.every_n_epochs = every_n_epochs
        self._test_videos: tuple[str, ...] = ()
        self._folder: Path | None = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the timelines of the epoch to TensorBoard."""
        due = (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if not (due and trainer.is_global_zero and _writers(trainer)):
            return
        if not isinstance(pl_module, DenseAnticipator):
            return
        batch = self._training_batch(_data(trainer))
        forecast = _forecast(trainer, pl_module, batch)
        for row, video_id in enumerate(batch.video_ids):
            figure = self._timeline(_data(trainer), batch, forecast, row)
            _add_figure(trainer, f"forecast/{video_id}", figure)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the videos and the folder."""
        # `log_dir` is a broadcast: every process has to ask, and equally often.
        log_dir = trainer.log_dir if trainer.loggers else None
        self._folder = Path(log_dir) / "figures" if log_dir else None
        drawn = self._folder is not None and isinstance(pl_module, DenseAnticipator)
        self._test_videos = spread(_data(trainer).test_videos, self.num_videos) if drawn else ()

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
        for row, video_id in enumerate(batch.video_ids if self._test_videos else ()):
            if video_id in self._test_videos:
                figure = self._timeline(_data(trainer), batch, outputs["forecast"], row)
                self._save(trainer, figure, f"{video_id}_obs{batch.obs_ratios[row]}")

    def _save(self, trainer: pl.Trainer, figure: Any, name: str) -> None:
        assert self._folder is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(self._folder / f"timeline_{name.replace('/', '_')}.png")
        _add_figure(trainer, f"forecast_test/{name}", figure)

    def _training_batch(self, data: DenseDataModule) -> DenseBatch:
        videos = spread(data.val_videos or data.train_videos, self.num_videos)
        dataset = DenseDataset(
            data.store, videos, data.obs_ratios[:1], data.sample_rate, whole_videos=True
        )
        return collate_dense([dataset[Draw(item, 0)] for item in range(len(dataset))])

    def _timeline(
        self, data: DenseDataModule, batch: DenseBatch, forecast: Forecast, row: int
    ) -> Any:
        video_id, ratio = batch.video_ids[row], batch.obs_ratios[row]
        num_frames = int(batch.num_frames[row])
        end = target_frames(num_frames, ratio)
        rows = {"ground truth": batch.frame_targets[row, :end].cpu().numpy()}
        for index, preds in enumerate(forecast.preds[: self.num_samples, row, :end].cpu()):
            rows[f"sample {index + 1}"] = preds.numpy()
        part = " (training video)" if video_id in data.train_videos else ""
        return figures.timeline(
            rows,
            observed_frames(num_frames, ratio),
            data.vocabulary,
            data.store.fps,
            f"{video_id}{part}, {100 * ratio:g} % observed",
            _note(data),
        )


class ExpertUsage(Callback):
    """Draws how often the routers of each mixture block choose each expert in training.

    Args:
        every_n_epochs: Epochs of training from one drawing to the next; only these are counted.

    Raises:
        ConfigError: A count below 1.
    """

    def __init__(self, every_n_epochs: int = 1) -> None:
        _check_count("every_n_epochs", every_n_epochs)
        self.every_n_epochs = every_n_epochs
        self._hook: RemovableHandle | None = None
        self._counts: Float[Tensor, "blocks routers experts"] | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to the denoiser in epochs that will be drawn."""
        due = (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if due and isinstance(pl_module, DiffusionAnticipator) and trainer.loggers:
            self._hook = pl_module.denoiser.register_forward_hook(self._count)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the figure of the epoch to TensorBoard."""
        self._stop_listening()
        counts, self._counts = self._counts, None
        if counts is None:
            return
        total: Any = trainer.strategy.reduce(counts, reduce_op="sum")
        if not (trainer.is_global_zero and _writers(trainer)):
            return
        usage = (total / total.sum(dim=-1, keepdim=True)).cpu().numpy()
        title = f"Expert usage in training (%), epoch {trainer.current_epoch + 1}"
        figure = figures.expert_usage(usage, title, _note(_data(trainer)))
        _add_figure(trainer, "router/usage", figure)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave nothing behind in the denoiser when training ends early."""
        self._stop_listening()
        self._counts = None

    def _count(self, denoiser: nn.Module, inputs: Any, output: DenoiserOutput) -> None:
        gamma = output.gamma.detach()
        # Without gradients runs the first pass of self-conditioning, which would count twice.
        if denoiser.training and torch.is_grad_enabled() and len(gamma):
            counts = expert_usage(gamma) * gamma.shape[2]
            self._counts = counts if self._counts is None else self._counts + counts

    def _stop_listening(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None


def _check_count(name: str, count: int) -> None:
    if count < 1:
        raise ConfigError(f"{name} is {count}: expected 1 or more")


def _data(trainer: pl.Trainer) -> DenseDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, DenseDataModule):
        raise ConfigError(
            f"figures need the names of classes, but the trainer's data is {type(data).__name__}: "
            "give it a data module of anticipate.data, or leave the figures out"
        )
    return data


def _note(data: DenseDataModule) -> str:
    return "synthetic features" if data.synthetic else ""


def _writers(trainer: pl.Trainer) -> list[TensorBoardLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def _add_figure(trainer: pl.Trainer, tag: str, figure: Any) -> None:
    for logger in _writers(trainer):
        logger.experiment.add_figure(tag, figure, trainer.global_step)


def _forecast(trainer: pl.Trainer, model: DenseAnticipator, batch: DenseBatch) -> Forecast:
    """Forecast as a test would, leaving no trace in the training."""
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
