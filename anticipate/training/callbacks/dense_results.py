"""Results of a dense test: the papers' table with the baselines, and `metrics.json`.

Each baseline has two rows: after the ground truth of the observed part, which no model knows, and
after the labels that the tested model predicts or was given for it (majority of its samples); one,
where those are the ground truth. Mean MoC counts every sample, and a majority is more often right
than a sample: so there are rows that compare like with like. The majority of the model's samples
and of the tri-gram's after the ground truth are one future, as that of last-label; `last-label
(each sample)` continues each sample by its own last label.
"""

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Int
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from torch import Tensor

from anticipate.horizons import evaluation_window
from anticipate.models.dense_anticipator import DenseAnticipator
from anticipate.models.observations import GroundTruth
from anticipate.protocol.dense_baselines import LastLabel, TriGram, majority
from anticipate.protocol.dense_scores import DenseScores
from anticipate.protocol.dense_table import horizon_table
from anticipate.training.callbacks.run_files import write_results
from anticipate.training.provenance import caveat
from anticipate.types import ForecastVideo

__all__ = ["DenseResults"]


GROUND_TRUTH = GroundTruth.name
"""What baselines continue besides the labels of the model's own observation."""
EACH_SAMPLE = "last-label (each sample)"
TRIGRAM_MAJORITY = f"tri-gram ({GROUND_TRUTH}, majority)"


class DenseResults(Callback):
    """Scores the model and the baselines, prints both, and writes `metrics.json`.

    Args:
        baselines: Whether to score last-label and tri-gram too.
        seed: Seed of the tri-gram's samples.
    """

    def __init__(self, baselines: bool = True, seed: int = 0) -> None:
        self.baselines, self.seed = baselines, seed
        self._models: dict[str, LastLabel | TriGram] = {}
        self._scores: dict[str, dict[float, DenseScores]] = {}

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fit the baselines to the training videos of the split."""
        if not isinstance(pl_module, DenseAnticipator):
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if self.baselines:
            trigram = TriGram.fit(data.train_transcripts(), data.num_classes)
            self._models = {"last-label": LastLabel(), "tri-gram": trigram}
        observations = dict.fromkeys((pl_module.observation, GROUND_TRUTH))
        names = [f"{name} ({seen})" for name in self._models for seen in observations]
        names = [EACH_SAMPLE, *names, TRIGRAM_MAJORITY] if self.baselines else names
        self._scores = {
            name: {
                ratio: DenseScores(data.num_classes, ratio, pl_module.pred_ratios).to(
                    pl_module.device
                )
                for ratio in pl_module.obs_ratios
            }
            for name in (_majority_name(pl_module), *names)
        }

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Score the majority of the samples, and the baselines after its labels."""
        if not isinstance(pl_module, DenseAnticipator):
            return
        for video in outputs["forecast"].videos(batch):
            predicted = majority(video.preds)
            if len(video.preds) > 1:
                metric = self._scores[_majority_name(pl_module)][video.obs_ratio]
                metric.update(predicted.unsqueeze(0).to(video.targets.device), video.targets)
            self._continue(video, predicted, pl_module)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gather the scores of all processes, then print and write them once."""
        if not isinstance(pl_module, DenseAnticipator) or "test" not in pl_module.scores:
            return
        rows = {pl_module.method: pl_module.scores["test"]}
        for name, metrics in self._scores.items():
            scores = {str(r): m.compute() for r, m in metrics.items() if m.update_called}
            if scores:
                rows[name] = scores
        self._publish(trainer, pl_module, rows)

    def _continue(
        self, video: ForecastVideo, predicted: Int[Tensor, " frames"], model: DenseAnticipator
    ) -> None:
        samples, targets = video.preds, video.targets
        past, end = evaluation_window(video.num_frames, video.obs_ratio, model.pred_ratios[-1])

        def score(name: str, preds: np.ndarray) -> None:
            metric = self._scores[name][video.obs_ratio]
            metric.update(torch.from_numpy(preds).to(targets.device), targets)

        if self._models and len(samples) > 1:
            own = samples[:, :past].cpu().numpy()
            score(EACH_SAMPLE, np.pad(own, ((0, 0), (0, end - past)), mode="edge"))
        observations = {model.observation: predicted[:past], GROUND_TRUTH: targets[:past]}
        for name, baseline in self._models.items():
            for observation, labels in observations.items():
                preds = baseline.forecast(
                    labels.cpu().numpy(),
                    end,
                    len(samples),
                    np.random.default_rng([self.seed, *video.video_id.encode()]),
                )
                score(f"{name} ({observation})", preds)
                if (name, observation) == ("tri-gram", GROUND_TRUTH) and len(samples) > 1:
                    score(TRIGRAM_MAJORITY, majority(torch.from_numpy(preds)).unsqueeze(0).numpy())

    @rank_zero_only
    def _publish(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, rows: dict[str, Any]
    ) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        videos = next(iter(next(iter(rows.values())).values()))["num_videos"]
        title = f"{data.dataset}, split {data.split}, {videos} test videos"
        title += f", {caveat(trainer)}" if caveat(trainer) else ""
        console = Console()
        for measure in ("mean_moc", "top1_moc"):
            console.print(horizon_table(title, rows, measure, data.synthetic))
        path = write_results(trainer, pl_module, "dense", rows, num_test_videos=videos)
        if path is not None:
            console.print(f"scores: {path}", soft_wrap=True, highlight=False)


def _majority_name(model: DenseAnticipator) -> str:
    return f"{model.method} (majority)"
