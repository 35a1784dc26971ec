"""What every dense anticipation model shares: the protocol's scores and their names in the logs.

Logged: `train/*` by the model; `<stage>/mean_moc/obs0.2_pred0.1` and likewise `top1_moc`, `mof`,
    `frame_diversity` for
the stages `val` and `test`, and `<stage>/mean_moc`, the mean over all settings.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import lightning.pytorch as pl
from torch import Tensor, nn

from anticipate.horizons import evaluation_window, ratio_name
from anticipate.models.own_forecasts import refuse_forecast, require_forecast
from anticipate.protocol.dense_scores import DenseScores
from anticipate.protocol.measures import DENSE_MEASURES
from anticipate.types import DenseBatch, DenseForecast

__all__ = ["DenseAnticipator"]

STAGES = ("val", "test")

OWN_LABELS = "predicted labels"
"""What tables call labels that the model of the table predicts for the observed part."""


class DenseAnticipator(pl.LightningModule):
    """Base of the models that forecast a label for every frame.

    A subclass trains as it likes and implements `forecast`; scores, logs, files and figures follow
    from that.

    Args:
        num_classes: Number of action classes; set from the data.
        sample_rate: Frames per token; set from the data.
        obs_ratios: Observation ratios alpha to score; set from the data.
        pred_ratios: Horizons beta to score, as shares of the whole video; set from the data.
    """

    scores: dict[str, dict[str, Any]]
    """Scores of the last epoch of each stage, for whoever comes after it; the same everywhere."""
    beginnings_per_step = 0
    """Rows of the `TranscriptBatch` that it trains on; 0 for a `DenseBatch`."""

    def __init__(
        self,
        num_classes: int,
        sample_rate: int,
        obs_ratios: Sequence[float] = (0.2, 0.3),
        pred_ratios: Sequence[float] = (0.1, 0.2, 0.3, 0.5),
    ) -> None:
        super().__init__()
        require_forecast(self)
        self.scores = {}
        self.num_classes, self.sample_rate = num_classes, sample_rate
        self.obs_ratios, self.pred_ratios = tuple(obs_ratios), tuple(pred_ratios)
        for stage in STAGES:
            metrics = [
                DenseScores(num_classes, ratio, self.pred_ratios) for ratio in self.obs_ratios
            ]
            self.add_module(f"{stage}_scores", nn.ModuleList(metrics))

    @property
    def method(self) -> str:
        """Name of the method in tables."""
        return type(self).__name__

    @property
    def observation(self) -> str:
        """Whose labels of the observed part its forecasts begin with, as tables say."""
        return OWN_LABELS

    @abstractmethod
    def forecast(self, batch: DenseBatch) -> DenseForecast:
        """Draw futures for every video of the batch."""

    def validation_step(self, batch: DenseBatch) -> dict[str, DenseForecast]:
        """Score the forecasts of held-out training videos."""
        return {"forecast": self._score(batch, "val")}

    def test_step(self, batch: DenseBatch) -> dict[str, DenseForecast]:
        """Score the forecasts of test videos."""
        return {"forecast": self._score(batch, "test")}

    def predict_step(self, batch: DenseBatch) -> DenseForecast:
        """Return the forecasts."""
        return self.forecast(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the epoch."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log the scores of the test."""
        self._log_scores("test")

    def metrics(self, stage: str) -> dict[float, DenseScores]:
        """Return the metric of each observation ratio; `stage` is `val` or `test`."""
        metrics = cast(Sequence[DenseScores], self.get_submodule(f"{stage}_scores"))
        return dict(zip(self.obs_ratios, metrics, strict=True))

    def compute_scores(self, stage: str = "test") -> dict[str, dict[str, Any]]:
        """Return `{"0.2": {"mean_moc": {"0.1": ..}, ..}, ..}` of all videos scored so far."""
        metrics = self.metrics(stage).items()
        return {ratio_name(r): metric.compute() for r, metric in metrics if metric.update_called}

    def check_forecast(self, batch: DenseBatch) -> None:
        """Draw futures of an evaluation batch and look at their shape.

        Raises:
            ConfigError: They are no `DenseForecast`, or of another shape.
        """
        found, rows = self.forecast(batch), len(batch.obs_ratios)
        videos = zip(batch.num_frames.tolist(), batch.obs_ratios, strict=True)
        longest = self.pred_ratios[-1]
        frames = max(evaluation_window(length, ratio, longest)[1] for length, ratio in videos)
        preds: Any = getattr(found, "preds", None)
        fits = isinstance(preds, Tensor) and not preds.is_floating_point() and preds.ndim == 3
        if not fits or preds.shape[1] != rows or preds.shape[2] < frames:
            expected = f"DenseForecast, integers (samples, {rows}, {frames} or more)"
            refuse_forecast(self, found, expected)

    def _score(self, batch: DenseBatch, stage: str) -> DenseForecast:
        forecast, metrics = self.forecast(batch), self.metrics(stage)
        for video in forecast.videos(batch):
            metrics[video.obs_ratio].update(video.preds, video.targets)
        return forecast

    def _log_scores(self, stage: str) -> None:
        scores = self.scores[stage] = self.compute_scores(stage)
        self.log_dict(
            {
                f"{stage}/{measure}/obs{obs_ratio}_pred{pred_ratio}": value
                for obs_ratio, measures in scores.items()
                for measure in DENSE_MEASURES
                for pred_ratio, value in measures[measure].items()
            }
        )
        overall = [moc for measures in scores.values() for moc in measures["mean_moc"].values()]
        if overall:
            self.log(f"{stage}/mean_moc", sum(overall) / len(overall), prog_bar=True)
        for metric in self.metrics(stage).values():
            metric.reset()


def decay_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Return optimizer groups: matrices decay; A_log, D, biases, norms and scales do not."""
    decay: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in module.named_parameters():
        (decay if parameter.ndim > 1 and not name.endswith("A_log") else rest).append(parameter)
    return [{"params": decay}, {"params": rest, "weight_decay": 0.0}]
