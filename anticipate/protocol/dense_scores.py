"""Scores of dense anticipation as one torchmetrics class per observation ratio."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Integer
from torch import Tensor
from torchmetrics import Metric

from anticipate.errors import ConfigError
from anticipate.horizons import evaluation_window, ratio_name
from anticipate.protocol.measures import DENSE_MEASURES, DenseCounts
from anticipate.protocol.moc import (
    Runs,
    best_samples,
    class_counts,
    find_runs,
    frame_diversity,
    without_no_label,
)
from anticipate.types import NO_LABEL

__all__ = ["DenseScores"]

PRED_RATIOS = (0.1, 0.2, 0.3, 0.5)
"""Horizons of the published tables, as shares of the whole video."""

PER_HORIZON = ("correct", "top1_correct", "frames", "diversity", "num_windows")
"""States of `DenseScores` with one row per horizon, all fields of `DenseCounts`."""


class DenseScores(Metric):
    """Mean MoC, Top-1 MoC, MoF and frame diversity at one observation ratio, all horizons.

    - Mean MoC: counts over all samples and videos, then the mean over classes.
    - Top-1 MoC: the same over the best sample of each video and horizon (first on ties).
    - MoF: share of correct frames over all samples and videos.
    - Frame diversity: share of differing frames, mean over pairs of samples, then over videos.

    All states are sums, so that those of several processes, or of halves of a data set, add up.

    Args:
        num_classes: Classes of the data set; background is a class like any other.
        obs_ratio: Observed share of each video.
        pred_ratios: Shares of the whole video to anticipate, ascending.
    """

    higher_is_better = True
    full_state_update = False
    correct: Tensor
    top1_correct: Tensor
    frames: Tensor
    diversity: Tensor
    num_windows: Tensor
    num_videos: Tensor
    num_futures: Tensor

    def __init__(
        self,
        num_classes: int,
        obs_ratio: float,
        pred_ratios: tuple[float, ...] = PRED_RATIOS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not pred_ratios or list(pred_ratios) != sorted(set(pred_ratios)):
            raise ConfigError(f"pred_ratios are {pred_ratios}, expected ascending shares")
        self.num_classes, self.obs_ratio, self.pred_ratios = num_classes, obs_ratio, pred_ratios
        per_class = torch.zeros(len(pred_ratios), num_classes, dtype=torch.int64)
        per_horizon = torch.zeros(len(pred_ratios), dtype=torch.int64)
        for name in ("correct", "top1_correct", "frames"):
            self.add_state(name, per_class.clone(), dist_reduce_fx="sum")
        self.add_state("diversity", per_horizon.double(), dist_reduce_fx="sum")
        self.add_state("num_windows", per_horizon.clone(), dist_reduce_fx="sum")
        for name in ("num_videos", "num_futures"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self, preds: Integer[Tensor, "samples frames"], targets: Integer[Tensor, " video_frames"]
    ) -> None:
        """Count one video.

        Args:
            preds: Classes from the first frame of the video at least to the end of the longest
                horizon, NO_LABEL for none; what follows, and the observed part, is not scored.
            targets: Labels of the whole video at the annotation rate, without padding.

        Raises:
            ValueError: If preds are too short, a class is unknown or the number of samples changes.
        """
        windows = [evaluation_window(len(targets), self.obs_ratio, r) for r in self.pred_ratios]
        past, end = windows[-1]
        if preds.shape[1] < end:
            raise ValueError(f"preds have {preds.shape[1]} frames, the longest horizon needs {end}")
        horizons = np.array([last - past for _, last in windows])
        runs = find_runs(
            preds[:, past:end].cpu().numpy(), targets[past:end].cpu().numpy(), horizons
        )
        self._check(runs)
        runs = without_no_label(runs, self.num_classes)
        counts = class_counts(runs, len(horizons), self.num_classes)
        best = counts.correct[np.arange(len(horizons)), best_samples(counts)]
        diversity = frame_diversity(runs, len(horizons), self.num_classes + 1)
        self._add(
            correct=counts.correct.sum(1),
            top1_correct=best,
            frames=counts.frames,
            diversity=np.where(horizons > 0, diversity, 0),
            num_windows=(horizons > 0).astype(np.int64),
        )
        self.num_videos.add_(1)
        self.num_futures.add_(len(runs.preds))

    def compute(self) -> dict[str, Any]:
        """Return the scores as plain numbers, laid out as in `anticipate score --json`.

        Returns:
            `mean_moc`, `top1_moc`, `mof` (percent) and `frame_diversity` (0..1), each a dict from
            the written pred ratio ("0.1") to a float; `num_videos`; `num_samples` per video. NaN
            where nothing can be measured: no frames, or the diversity of a single sample.
        """
        num_samples = int(self.num_futures) // max(int(self.num_videos), 1)
        states = {name: getattr(self, name).cpu().numpy() for name in PER_HORIZON}
        counts = DenseCounts(**states, num_samples=num_samples)
        names = [ratio_name(ratio) for ratio in self.pred_ratios]
        scores: dict[str, Any] = {
            name: dict(zip(names, measure.of(counts).tolist(), strict=True))
            for name, measure in DENSE_MEASURES.items()
        }
        return scores | {"num_videos": int(self.num_videos), "num_samples": num_samples}

    def _add(self, **counts: np.ndarray) -> None:
        for name, count in counts.items():
            getattr(self, name).add_(torch.from_numpy(count).to(self.device))

    def _check(self, runs: Runs) -> None:
        num_samples, num_videos = len(runs.preds), int(self.num_videos)
        num_futures = int(self.num_futures)
        if num_futures != num_videos * num_samples:
            before = num_futures // num_videos
            raise ValueError(f"preds have {num_samples} samples, those of earlier videos {before}")
        named = runs.preds[runs.preds != NO_LABEL]
        for name, classes in (("preds", named), ("targets", runs.targets)):
            if classes.size and not 0 <= classes.min() <= classes.max() < self.num_classes:
                raise ValueError(f"{name} hold a class outside [0, {self.num_classes})")
