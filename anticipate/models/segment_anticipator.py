"""Anticipation from labels alone: UAAA draws what follows the segments of an observation.

Everything random in a forecast follows from (seed, video, observation ratio, sample).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from anticipate.choices import checked_choices
from anticipate.console import notice
from anticipate.errors import ConfigError
from anticipate.horizons import target_frames
from anticipate.models.dense_anticipator import DenseAnticipator
from anticipate.models.network_settings import KeepsNetwork
from anticipate.models.observations import FileLabels, GroundTruth, Observation, RunLabels
from anticipate.models.seeds import forecast_seeds
from anticipate.nn.uaaa import CUTS, PARTS, UAAA, Continuation, CurrentLength
from anticipate.protocol.dense_baselines import length_statistics
from anticipate.protocol.rollout import observed_segments, roll_out
from anticipate.types import DenseBatch, DenseForecast, TranscriptBatch

__all__ = ["SegmentAnticipator"]

LengthUnit = Literal["video", "class"]

VIDEO_UNITS = 6
"""Units of length in a whole video (public code of UAAA's predecessor)."""

GROUND_TRUTH = "ground_truth"


def observer_of(observation: str) -> Path | None:
    """Return the run folder, checkpoint or name of a run that is to label the observed part.

    None where no other model does: the annotation or a predictions file has the labels.
    """
    has_labels = observation == GROUND_TRUTH or observation.endswith((".h5", ".hdf5"))
    return None if has_labels else Path(observation)


class SegmentAnticipator(KeepsNetwork, DenseAnticipator):
    """Trains UAAA on the transcripts of the training videos and draws futures segment by segment.

    Args:
        num_classes: Number of action classes; set from the data.
        sample_rate: Frames per token; set from the data.
        obs_ratios: Observation ratios alpha to score; set from the data.
        pred_ratios: Horizons beta to score; set from the data.
        network: Network; called with num_classes and current_length.
        optimizer: Optimizer of all parameters.
        observation: Labels of the observed part in a forecast: `ground_truth`, a predictions file
            of the same split, or the run folder or checkpoint of another model, which then labels
            it; in a study or sweep also the name of a run in the same folder of runs, split and
            seed. Not used in training.
        length_unit: Unit of lengths: `video`, a sixth of the whole video, whose length no real
            observer knows, or `class`, which standardises by the training segments of a class.
        current_length: Where the length of the observed last segment comes from: `total`, of the
            length model, or `remaining`, of a head of the action model.
        mode: One future, of the likeliest actions and mean lengths, in place of samples.
        batch_size: Beginnings of transcripts per training step and process, each cut ten times; the
            batch size of the data is for models of features.
        num_samples: Futures per video.
        seed: Seed of the futures.
    """

    network: UAAA
    length_mean: Tensor
    length_std: Tensor

    @checked_choices
    def __init__(
        self,
        num_classes: int,
        sample_rate: int,
        obs_ratios: Sequence[float] = (0.2, 0.3),
        pred_ratios: Sequence[float] = (0.1, 0.2, 0.3, 0.5),
        network: Callable[[int, CurrentLength], UAAA] = UAAA,
        optimizer: OptimizerCallable = torch.optim.Adam,
        observation: str = GROUND_TRUTH,
        length_unit: LengthUnit = "video",
        current_length: CurrentLength = "total",
        mode: bool = False,
        batch_size: int = 51,
        num_samples: int = 25,
        seed: int = 0,
    ) -> None:
        super().__init__(num_classes, sample_rate, obs_ratios, pred_ratios)
        self.save_hyperparameters(logger=False, ignore=["network", "optimizer"])
        if num_samples < 1 or batch_size < 1:
            raise ConfigError(
                f"num_samples is {num_samples}, batch_size {batch_size}: expected 1 or more"
            )
        self.network = network(num_classes, current_length)
        self.optimizer, self.length_unit = optimizer, length_unit
        self.beginnings_per_step = batch_size
        self.mode, self.num_samples, self.seed = mode, num_samples, seed
        self.source = observation
        self._observation: Observation | None = None
        self.register_buffer("length_mean", torch.zeros(num_classes))
        self.register_buffer("length_std", torch.ones(num_classes))

    @property
    def method(self) -> str:
        """Name of the network, and the observation."""
        marks = ["mode"] if self.mode else []
        return f"{self.network.method} ({', '.join([*marks, self.observation])})"

    @property
    def observation(self) -> str:
        """Whose labels of the observed part it continues."""
        return self.observed.name

    @property
    def observer_run(self) -> Path | None:
        """Run that labels the observed part, as `observer_of` returns it."""
        return observer_of(self.source)

    @property
    def observed(self) -> Observation:
        """The labels of the observed part.

        Raises:
            ConfigError: They are of a run that nobody has loaded.
            DataError: They are of a file that cannot be used.
        """
        if self._observation is None:
            if self.observer_run is not None:
                raise ConfigError(
                    f"observation {self.source}: its model is not loaded; load this one with "
                    "anticipate.load, or give it the other with observe(model)"
                )
            truth = self.source == GROUND_TRUTH
            path = Path(self.source)
            self._observation = GroundTruth() if truth else FileLabels(path, self.num_classes)
        return self._observation

    def observe(self, model: DenseAnticipator) -> None:
        """Let another model label the observed part.

        Args:
            model: A model of features in evaluation mode, of the same sample rate.
        """
        self._observation = RunLabels(model)

    def prepare_data(self) -> None:
        """Look at transcripts and observation, before a run folder is made.

        Raises:
            DataError: There is nothing to learn, or the observation lacks a video, or is of another
                data set, split or classes.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        stage = self.trainer.state.fn
        if stage == "fit":
            _ = data.transcript_dataset
        videos = [*(data.val_videos if stage in ("fit", "validate") else ())]
        videos += data.test_videos if stage != "validate" else ()
        self.observed.check(data, videos)
        if stage != "fit":
            notice(f"observed part: {self.observation}")

    def on_fit_start(self) -> None:
        """Measure the lengths of the training segments."""
        if self.length_unit == "class":
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            statistics = length_statistics(data.train_transcripts(), self.num_classes, least=2)
            for buffer, values in zip((self.length_mean, self.length_std), statistics, strict=True):
                buffer.copy_(torch.from_numpy(values))
            self.length_std.clamp_(min=1.0)  # frames: equal lengths have no spread

    def unit(self, labels: Tensor, num_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return zero point and scale, in frames, of the lengths of actions.

        Args:
            labels: Classes; any on padding.
            num_frames: Length T of each video, of a shape that fits that of the labels.
        """
        if self.length_unit == "video":
            scale = num_frames.to(self.length_mean) / VIDEO_UNITS
            return torch.zeros_like(scale), scale
        known = labels.clamp(min=0)
        return self.length_mean[known], self.length_std[known]

    def training_step(self, batch: TranscriptBatch) -> Tensor:
        """Return the sum of the losses of the models."""
        losses = self.losses(batch)
        loss = torch.stack([*losses.values()]).sum()
        values = {f"train/{name}": value for name, value in {"loss": loss, **losses}.items()}
        self.log_dict(
            values, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch.labels)
        )
        return loss

    def losses(self, batch: TranscriptBatch) -> dict[str, Tensor]:
        """Return the loss of each model, lengths in their unit."""
        num_frames = batch.num_frames[:, None]
        zero, scale = self.unit(batch.labels, num_frames)
        last = (batch.num_segments - 1)[:, None]
        whole = batch.lengths.gather(1, last)
        # A segment is seen for a frame at least, however short it is.
        seen = (whole * torch.tensor(CUTS, device=whole.device) // PARTS).clamp(min=1)
        zero_last, scale_last = self.unit(batch.labels.gather(1, last), num_frames)
        return self.network.losses(
            batch.labels,
            (batch.lengths - zero) / scale,
            batch.num_segments,
            batch.next_labels,
            (seen - zero_last) / scale_last,
            (whole - seen) / scale_last,
        )

    @torch.no_grad()
    def forecast(self, batch: DenseBatch) -> DenseForecast:
        """Draw futures; each depends on (seed, video, ratio, sample), never on its batch.

        While training, figures of training videos continue the annotation.
        """
        training = self._trainer is not None and self.trainer.training
        observed = GroundTruth() if training else self.observed
        rows = [
            self._continue(batch, row, labels) for row, labels in enumerate(observed.labels(batch))
        ]
        preds = pad_sequence([torch.from_numpy(preds).T for preds in rows])
        return DenseForecast(preds.permute(2, 1, 0).to(self.device))

    def _continue(self, batch: DenseBatch, row: int, labels: np.ndarray) -> np.ndarray:
        generator = np.random.default_rng(forecast_seeds(self.seed, batch)[row])
        segments = observed_segments(labels)
        future = Continuation(
            self.network,
            lambda actions: self.unit(actions, batch.num_frames[row]),
            segments,
            () if self.mode else generator.spawn(self.num_samples),
        )
        num_frames = target_frames(int(batch.num_frames[row]), batch.obs_ratios[row])
        return roll_out(segments, future.current(), num_frames, future.next_action, future.length)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer, whose learning rate stays as it is."""
        return self.optimizer(self.network.parameters())
