"""Results of a short-term test: the papers' table with baselines, and `metrics.json`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float64
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from anticipate.datasets.batches.short_term_module import ShortTermDataModule
from anticipate.datasets.file.segment_table import SegmentTable
from anticipate.figures.saved import ScoredVideos, Stage, write_scored_videos
from anticipate.files import FIGURES
from anticipate.models.short_term_anticipator import ShortTermAnticipator
from anticipate.protocol.short_term_baselines import FrequencyPrior, RepeatLast, last_started
from anticipate.protocol.short_term_scores import ShortTermScores
from anticipate.protocol.short_term_table import short_term_table
from anticipate.protocol.video_recalls import VideoRecalls
from anticipate.training.callbacks.drawing import writers
from anticipate.training.callbacks.run_files import write_results
from anticipate.training.provenance import caveat
from anticipate.types import ShortTermBatch, TickBatch

__all__ = ["ShortTermResults"]


FREQUENCY = "frequency prior"
REPEAT = "repeat last (ground truth)"
"""Continues the annotated observation, which no model has."""


class ShortTermResults(Callback):
    """Scores the model and the baselines, prints both, and writes `metrics.json`.

    Where participants are unseen in training, `figures/` gets the hits of each video too: what the
    report needs to tell the fall from seen to unseen participants, and its interval.

    Args:
        baselines: Whether to score the frequency of the actions and the last action too.
    """

    def __init__(self, baselines: bool = True) -> None:
        self.baselines = baselines
        self._metrics: dict[str, ShortTermScores] = {}
        self._videos: dict[str, VideoRecalls] = {}

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start to count the hits of held-out training videos."""
        if isinstance(pl_module, ShortTermAnticipator):
            data = _data(trainer)
            self._videos = _video_recalls([pl_module.method], data, data.val_segments, pl_module)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count those of a batch."""
        for metric in self._videos.values():
            metric.update(outputs["forecast"].evaluated, batch.targets, batch.segment_ids)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write them; those of the last epoch stay."""
        if self._videos:
            _write_videos(trainer, "val", self._videos)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fit the baselines to the training part of the split."""
        if not isinstance(pl_module, ShortTermAnticipator):
            return
        data = _data(trainer)
        self._metrics = {}
        if self.baselines:
            self._prior = FrequencyPrior(data.class_counts)
            self._repeat = RepeatLast(data.class_counts)
            self._last_actions = last_actions(data)
            self._metrics = {
                name: ShortTermScores(data.protocol).to(pl_module.device)
                for name in (FREQUENCY, REPEAT)
            }
        methods = [pl_module.method, *self._metrics]
        self._videos = _video_recalls(methods, data, data.test_segments, pl_module)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: int
    ) -> None:
        """Let the baselines score the same rows."""
        for name in dict.fromkeys([*self._videos, *self._metrics]):
            if name in self._metrics:
                logits = torch.from_numpy(self._forecast(name, batch)).to(batch.targets.device)
                self._metrics[name].update(logits, batch.targets, batch.segment_ids)
            else:
                logits = outputs["forecast"].evaluated
            if name in self._videos:
                self._videos[name].update(logits, batch.targets, batch.segment_ids)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gather the scores of all processes, then print and write them once."""
        if isinstance(pl_module, ShortTermAnticipator) and "test" in pl_module.scores:
            rows = {pl_module.method: pl_module.scores["test"]}
            rows |= {name: metric.compute() for name, metric in self._metrics.items()}
            if self._videos:
                _write_videos(trainer, "test", self._videos)
            self._publish(trainer, pl_module, rows)

    def _forecast(
        self, name: str, batch: ShortTermBatch | TickBatch
    ) -> Float64[np.ndarray, "rows actions"]:
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


def _video_recalls(
    methods: Sequence[str],
    data: ShortTermDataModule,
    segments: SegmentTable,
    model: pl.LightningModule,
) -> dict[str, VideoRecalls]:
    """Return empty counts of some methods; none where the data know of no unseen participant."""
    if not data.protocol.row_subsets.get("unseen"):
        return {}
    video_of = dict(zip(segments.segment_ids, segments.video_ids, strict=True))
    return {name: VideoRecalls(data.protocol, video_of).to(model.device) for name in methods}


def _write_videos(trainer: pl.Trainer, stage: Stage, metrics: Mapping[str, VideoRecalls]) -> None:
    """Write the counts of all processes into the run folder, where there is one."""
    recalls = {name: metric.compute() for name, metric in metrics.items()}
    folder = next((logger.log_dir for logger in writers(trainer)), None)
    if folder is None or not trainer.is_global_zero:
        return
    data, some = _data(trainer), next(iter(metrics.values()))
    unseen = data.protocol.row_subsets["unseen"]
    videos = {some.video_of[segment] for segment in unseen if segment in some.video_of}
    scored = ScoredVideos(
        tuple(data.store.participant(video) for video in some.subsets),
        np.array([video in videos for video in some.subsets]),
        {task: one.rows for task, one in next(iter(recalls.values())).items()},
        {name: {task: one.hits for task, one in by.items()} for name, by in recalls.items()},
    )
    figures = Path(folder) / FIGURES
    figures.mkdir(parents=True, exist_ok=True)
    write_scored_videos(figures, stage, scored)


def _data(trainer: pl.Trainer) -> ShortTermDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, ShortTermDataModule)
    return data
