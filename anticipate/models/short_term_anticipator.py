"""What every short-term anticipation model shares: the protocol's scores and their log names.

Logged: `train/*` by the model; `<stage>/overall/action` and likewise every other score of the data
set's protocol, for the stages `val` and `test`.
"""

from abc import abstractmethod
from typing import Any, cast

import lightning.pytorch as pl

from anticipate.errors import ConfigError
from anticipate.models.own_forecasts import refuse_forecast, require_forecast
from anticipate.protocol.measures import named_scores
from anticipate.protocol.short_term_scores import ShortTermScores
from anticipate.types import ShortTermBatch, ShortTermForecast, ShortTermProtocol, TickBatch

__all__ = ["ShortTermAnticipator"]

STAGES = ("val", "test")


class ShortTermAnticipator(pl.LightningModule):
    """Base of the models that score every action that could come next.

    A subclass trains as it likes and implements `forecast`; scores, logs and files follow from
    that.

    Args:
        protocol: What is scored, and on which rows and classes; set from the data.
    """

    scores: dict[str, dict[str, Any]]
    """Scores of the last epoch of each stage, for whoever comes after it; the same everywhere."""
    reads_windows = False
    """Whether it reads windows of the video (`data.windows`) instead of clips."""
    scores_verbs_and_nouns = False
    """Whether forecasts have scores of verbs and nouns."""

    def __init__(self, protocol: ShortTermProtocol) -> None:
        super().__init__()
        require_forecast(self)
        self.scores = {}
        for stage in STAGES:
            self.add_module(f"{stage}_scores", ShortTermScores(protocol))

    @property
    def method(self) -> str:
        """Name of the method in tables."""
        return type(self).__name__

    def setup(self, stage: str) -> None:
        """Compare the data with what the model reads.

        Raises:
            ConfigError: They have clips where it reads windows, or the reverse.
        """
        data = getattr(self.trainer, "datamodule", None)
        windows = getattr(data, "windows", None)
        if data is not None and (windows is not None) != self.reads_windows:
            found, expected = ("windows", "null") if windows else ("null", "windows of TickWindows")
            raise ConfigError(
                f"data.windows is {found}, but {type(self).__name__} expects {expected}"
            )

    @abstractmethod
    def forecast(self, batch: Any) -> ShortTermForecast:
        """Score the actions that each step of the clips anticipates, or one step alone.

        Args:
            batch: A `ShortTermBatch`, or a `TickBatch` where the data have windows.
        """

    def validation_step(self, batch: ShortTermBatch | TickBatch) -> dict[str, ShortTermForecast]:
        """Score the forecasts of held-out training videos."""
        return {"forecast": self._score(batch, "val")}

    def test_step(self, batch: ShortTermBatch | TickBatch) -> dict[str, ShortTermForecast]:
        """Score the forecasts of the rows that the data set evaluates."""
        return {"forecast": self._score(batch, "test")}

    def predict_step(self, batch: ShortTermBatch | TickBatch) -> ShortTermForecast:
        """Return the forecasts."""
        return self.forecast(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the epoch."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log the scores of the test."""
        self._log_scores("test")

    def metric(self, stage: str) -> ShortTermScores:
        """Return the metric of a stage, `val` or `test`."""
        return cast(ShortTermScores, self.get_submodule(f"{stage}_scores"))

    def compute_scores(self, stage: str = "test") -> dict[str, Any]:
        """Return the scores of all rows so far, as `{"overall": {"action": ..}, ..}`."""
        return self.metric(stage).compute()

    def check_forecast(self, batch: ShortTermBatch | TickBatch) -> None:
        """Score the actions of a batch and look at the shape of the scores.

        Raises:
            ConfigError: They are no `ShortTermForecast`, or of another shape.
        """
        found = self.forecast(batch)
        rows, steps = batch.features.shape[:2]
        actions = len(self.metric("test").protocol.taxonomy.verbs)
        shape = tuple(getattr(getattr(found, "logits", None), "shape", ()))
        if shape not in ((rows, steps, actions), (rows, 1, actions)):
            refuse_forecast(self, found, f"ShortTermForecast, scores {(rows, steps, actions)}")

    def _score(self, batch: ShortTermBatch | TickBatch, stage: str) -> ShortTermForecast:
        forecast = self.forecast(batch)
        self.metric(stage).update(forecast.evaluated, batch.targets, batch.segment_ids)
        return forecast

    def _log_scores(self, stage: str) -> None:
        scores = self.scores[stage] = self.compute_scores(stage)
        self.log_dict({f"{stage}/{name}": value for name, value in named_scores(scores).items()})
        self.metric(stage).reset()
