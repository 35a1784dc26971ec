"""Results of a short-term test: the papers' table with baselines, and `metrics.json`."""

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float64
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from anticipate.datasets.batches.short_term_module import ShortTermDataModule
from anticipate.models.short_term_anticipator import ShortTermAnticipator
from anticipate.protocol.short_term_baselines import FrequencyPrior, RepeatLast, last_started
from anticipate.protocol.short_term_scores import ShortTermScores
from anticipate.protocol.short_term_table import short_term_table
from anticipate.training.callbacks.run_files import write_results
from anticipate.training.provenance import caveat
from anticipate.types import ShortTermBatch

__all__ = ["ShortTermResults"]


FREQUENCY = "frequency prior"
REPEAT = "repeat last (ground truth)"
"""Continues the annotated observation, which no model has."""


class ShortTermResults(Callback):
    """Scores the model and the baselines, prints both, and writes `metrics.json`.

    Args:
        baselines: Whether to score the frequency of the actions and the last action too.
    """

    def __init__(self, baselines: bool = True) -> None:
        self.baselines = baselines
        self._metrics: dict[str, ShortTermScores] = {}

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fit the baselines to the training part of the split."""
        if not (self.baselines and isinstance(pl_module, ShortTermAnticipator)):
            return
        data = _data(trainer)
        self._prior, self._repeat = FrequencyPrior(data.class_counts), RepeatLast(data.class_counts)
        self._last_actions = last_actions(data)
        self._metrics = {
            name: ShortTermScores(data.protocol).to(pl_module.device)
            for name in (FREQUENCY, REPEAT)
        }

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: int
    ) -> None:
        """Let the baselines score the same rows."""
        for name, metric in self._metrics.items():
            logits = torch.from_numpy(self._forecast(name, batch)).to(batch.targets.device)
            metric.update(logits, batch.targets, batch.segment_ids)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gather the scores of all processes, then print and write them once."""
        if isinstance(pl_module, ShortTermAnticipator) and "test" in pl_module.scores:
            rows = {pl_module.method: pl_module.scores["test"]}
            rows |= {name: metric.compute() for name, metric in self._metrics.items()}
            self._publish(trainer, pl_module, rows)

    def _forecast(self, name: str, batch: ShortTermBatch) -> Float64[np.ndarray, "rows actions"]:
        if name == FREQUENCY:
            return self._prior.forecast(len(batch.segment_ids))
        last = [self._last_actions[segment_id] for segment_id in batch.segment_ids]
        return self._repeat.forecast(np.array(last))

    @rank_zero_only
    def _publish(
        self, trainer: pl.Trainer, model: ShortTermAnticipator, rows: dict[str, Any]
    ) -> None:
        data = _data(trainer)
        num_scored, num_rows = rows[model.method]["num_scored"], data.test_segments.num_rows
        title = f"{data.dataset}, split {data.split}, {num_scored:,} of {num_rows:,} rows"
        title += f", {caveat(trainer)}" if caveat(trainer) else ""
        console = Console()
        console.print(short_term_table(title, rows, data.synthetic))
        path = write_results(trainer, model, "short_term", rows, num_scored=num_scored)
        if path is not None:
            console.print(f"scores: {path}", soft_wrap=True, highlight=False)


def last_actions(data: ShortTermDataModule) -> dict[str, int]:
    """Return, by segment id, the annotated action that began last before each scored clip ended."""
    segments = data.test_segments
    gap = int(data.grid.lead_frames(data.store.fps)[-1])
    last = last_started(segments.video_ids, segments.starts, segments.actions, gap)
    return dict(zip(segments.segment_ids, last.tolist(), strict=True))


def _data(trainer: pl.Trainer) -> ShortTermDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, ShortTermDataModule)
    return data
