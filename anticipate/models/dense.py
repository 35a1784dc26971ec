"""What every dense anticipation model shares: the protocol's scores and their names in the logs.

Logged: `train/*` by the model; `<stage>/mean_moc/obs0.2_pred0.1` and likewise `top1_moc`, `mof`,
    `frame_diversity` for
the stages `val` and `test`, and `<stage>/mean_moc`, the mean over all settings.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from torch import Tensor, nn

from anticipate.metrics.dense import DenseScores
from anticipate.types import DenseBatch, Forecast


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

    def __init__(
        self,
        num_classes: int,
        sample_rate: int,
        obs_ratios: Sequence[float] = (0.2, 0.3),
        pred_ratios: Sequence[float] = (0.1, 0.2, 0.3, 0.5),
    ) -> None:
        super().__init__()
        self.num_classes, self.sample_rate = num_classes, sample_rate
        self.obs_ratios, self.pred_ratios = tuple(obs_ratios), tuple(pred_ratios)
        self.scores = nn.ModuleDict(
            {
                stage: nn.ModuleDict(
                    {
                        _key(ratio): DenseScores(num_classes, ratio, self.pred_ratios)
                        for ratio in self.obs_ratios
                    }
                )
                for stage in ("validation", "testing")
            }
        )

    @abstractmethod
    def forecast(self, batch: DenseBatch) -> Forecast:
        """Draw futures for every video of the batch."""

    def validation_step(self, batch: DenseBatch, batch_idx: int) -> Forecast:
        """Score the forecasts of held-out training videos."""
        return self._score(batch, "validation")

    def test_step(self, batch: DenseBatch, batch_idx: int) -> Forecast:
        """Score the forecasts of test videos."""
        return self._score(batch, "testing")

    def predict_step(self, batch: DenseBatch, batch_idx: int) -> Forecast:
        """Return the forecasts."""
        return self.forecast(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the epoch."""
        self._log_scores("validation", "val")

    def on_test_epoch_end(self) -> None:
        """Log the scores of the test."""
        self._log_scores("testing", "test")

    def compute_scores(self, stage: str = "testing") -> dict[str, dict[str, Any]]:
        """Return `{"0.2": {"mean_moc": {"0.1": ..}, ..}, ..}` of all videos scored so far."""
        return {
            _ratio(key): metric.compute()
            for key, metric in self.scores[stage].items()
            if metric.update_called
        }

    def _score(self, batch: DenseBatch, stage: str) -> Forecast:
        forecast = self.forecast(batch)
        for index, ratio in enumerate(batch.obs_ratios):
            num_frames = int(batch.num_frames[index])
            self.scores[stage][_key(ratio)].update(
                forecast.preds[:, index, :num_frames], batch.frame_targets[index, :num_frames]
            )
        return forecast

    def _log_scores(self, stage: str, prefix: str) -> None:
        scores = self.compute_scores(stage)
        values: list[float] = []
        for obs_ratio, measures in scores.items():
            for name in ("mean_moc", "top1_moc", "mof", "frame_diversity"):
                for pred_ratio, value in measures[name].items():
                    self.log(f"{prefix}/{name}/obs{obs_ratio}_pred{pred_ratio}", value)
            values.extend(measures["mean_moc"].values())
        if values:
            self.log(f"{prefix}/mean_moc", sum(values) / len(values), prog_bar=True)
        for metric in self.scores[stage].values():
            metric.reset()


def decay_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Return optimizer groups: matrices decay; A_log, D, biases, norms and scales do not."""
    decay: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in module.named_parameters():
        (decay if parameter.ndim > 1 and not name.endswith("A_log") else rest).append(parameter)
    return [{"params": decay}, {"params": rest, "weight_decay": 0.0}]


def _key(ratio: float) -> str:
    """Return a ratio as a name that a ModuleDict takes."""
    return f"obs{ratio}".replace(".", "_")


def _ratio(key: str) -> str:
    return key.removeprefix("obs").replace("_", ".")
