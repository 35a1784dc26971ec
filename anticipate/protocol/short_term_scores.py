"""Scores of short-term anticipation (EPIC-Kitchens-100 and -55, EGTEA Gaze+) from one pass."""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor
from torchmetrics import Metric

from anticipate.protocol.recall import (
    TOP,
    Phantom,
    TaskRanks,
    Tasks,
    accuracy,
    class_mean_recall,
    count_classes,
)
from anticipate.types import PAD_LABEL, ShortTermProtocol

__all__ = ["ShortTermScores"]

COUNTS = ("rows", "top1", "top5")
ROW_SUBSETS = ("overall", "unseen", "tail")


class EmptySubsetWarning(UserWarning):
    """A subset without a scored row: its scores are NaN."""


class Counts(NamedTuple):
    """Counts of one task."""

    rows: Int64[np.ndarray, "subsets classes"]
    """Scored rows of each true class."""
    top1: Int64[np.ndarray, "subsets classes"]
    """Those whose class is ranked first .."""
    top5: Int64[np.ndarray, "subsets classes"]
    """.. or among the first five."""


class RankCounts(Metric):
    """Counts of rows by subset and true class, from which scores follow.

    Verbs and nouns score the summed probability of their actions, unless they have own scores. On
    ties the larger id is ahead.
    All states are sums, so that those of several processes, or of parts of a data set, add up.

    Args:
        protocol: What is scored, and on which rows and classes.
        subsets: Names of the subsets.
        phantom: What verbs and nouns without any action score: `rulstm` (the probability of action
            0, as published evaluations have it) or `zero`.
    """

    higher_is_better = True
    full_state_update = False

    def __init__(
        self,
        protocol: ShortTermProtocol,
        subsets: Sequence[str],
        phantom: Phantom = "rulstm",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.protocol, self.subsets = protocol, tuple(subsets)
        self._tasks = Tasks(protocol.taxonomy, phantom)
        for task, num_classes in self._tasks.num_classes.items():
            for count in COUNTS:
                zeros = torch.zeros(len(self.subsets), num_classes, dtype=torch.int64)
                self.add_state(f"{task}_{count}", zeros, dist_reduce_fx="sum")

    @abstractmethod
    def members(self, task: str, segment_ids: Sequence[str]) -> Bool[np.ndarray, "subsets rows"]:
        """Tell which rows each subset holds."""

    def update(
        self,
        logits: Float[Tensor, "rows scores"],
        targets: Integer[Tensor, " rows"],
        segment_ids: Sequence[str],
    ) -> None:
        """Count rows.

        Args:
            logits: Score of each action, of any scale; after them those of all verbs and all nouns,
                where a model has outputs of its own for them.
            targets: The action that follows; rows with `PAD_LABEL` are left out.
            segment_ids: Ids of the rows, which say what subsets they are in.

        Raises:
            ValueError: If there are too few or many actions, ids, or an unknown action.
        """
        self._check(logits, targets, segment_ids)
        labelled = (targets != PAD_LABEL).cpu().numpy()
        if not labelled.any():
            return
        scores = logits.detach().cpu().double().numpy()[labelled]
        actions = targets.cpu().numpy()[labelled]
        ids = [id_ for id_, known in zip(segment_ids, labelled, strict=True) if known]
        for task, ranked in self._tasks.ranks(scores, actions).items():
            self._count(task, ranked, ids)

    def _count(self, task: str, ranked: TaskRanks, segment_ids: Sequence[str]) -> None:
        targets, ranks = ranked
        members = self.members(task, segment_ids)
        for count, counted in zip(COUNTS, (ranks >= 0, ranks < 1, ranks < TOP), strict=True):
            state = getattr(self, f"{task}_{count}")
            classes = count_classes(targets, members & counted, state.shape[1])
            state.add_(torch.from_numpy(classes).to(self.device))

    def counts(self, task: str) -> Counts:
        """Return the counts of a task so far."""
        return Counts(*(getattr(self, f"{task}_{count}").cpu().numpy() for count in COUNTS))

    def _check(self, logits: Tensor, targets: Tensor, segment_ids: Sequence[str]) -> None:
        num_actions, num_scores = self._tasks.widths()
        if logits.shape[1] not in (num_actions, num_scores):
            raise ValueError(
                f"logits have {logits.shape[1]} actions, the data set {num_actions} ({num_scores} "
                "with its verbs and nouns)"
            )
        if len(segment_ids) != len(targets):
            raise ValueError(f"{len(targets)} rows have {len(segment_ids)} segment ids")
        known = targets[targets != PAD_LABEL]
        if len(known) and not 0 <= known.min() <= known.max() < num_actions:
            raise ValueError(f"targets hold an action outside [0, {num_actions})")


class ShortTermScores(RankCounts):
    """Class-mean recalls and accuracies of verb, noun and action, as published for each data set.

    All scores are percentages of the rows whose action is known.

    - ek100: class-mean top-5 recall (recall of each class that occurs in the rows, then the mean
      over these classes), over all rows, over those of unseen and of seen participants, and over
      rows of tail classes.
    - ek55: top-1 and top-5 accuracy, class-mean top-5 recall over the many-shot classes.
    - egtea: top-1 and top-5 accuracy, class-mean top-1 and top-5 recall.

    Args:
        protocol: What is scored, and on which rows and classes.
        phantom: As of `RankCounts`.
    """

    def __init__(
        self, protocol: ShortTermProtocol, phantom: Phantom = "rulstm", **kwargs: Any
    ) -> None:
        subsets = ROW_SUBSETS if protocol.measures == "ek100" else ROW_SUBSETS[:1]
        super().__init__(protocol, subsets, phantom, **kwargs)

    def compute(self) -> dict[str, Any]:
        """Return the scores as plain numbers, laid out as `anticipate score short-term --json`.

        Returns:
            By subset and task a percentage (ek100), or a dict of percentages (ek55: `top1`, `top5`,
            `many_shot_recall`; egtea: `top1`, `top5`, `recall`, `top1_recall`); and `num_scored`.
            NaN, with a warning, for a subset without rows.
        """
        counts = {task: self.counts(task) for task in self._tasks.num_classes}
        tables: dict[str, Callable[[dict[str, Counts]], dict[str, Any]]] = {
            "ek100": self._subset_recalls,
            "ek55": self._many_shot_scores,
            "egtea": self._all_class_scores,
        }
        scores = tables[self.protocol.measures](counts)
        return scores | {"num_scored": int(counts["action"].rows[0].sum())}

    def _subset_recalls(self, counts: dict[str, Counts]) -> dict[str, Any]:
        scores: dict[str, Any] = {subset: {} for subset in (*self.subsets, "seen")}
        for task, (rows, _, top5) in counts.items():
            # The rows of seen participants are those that are left.
            hits, rows = (np.vstack([c, c[0] - c[1]]) for c in (top5, rows))
            recalls = 100 * class_mean_recall(hits, rows)
            for name, recall, total in zip(scores, recalls.tolist(), rows.sum(1), strict=True):
                scores[name][task] = recall
                _warn_if_empty(f"{name} {task}", int(total))
        return scores

    def _many_shot_scores(self, counts: dict[str, Counts]) -> dict[str, Any]:
        scores = {}
        for task, (rows, top1, top5) in counts.items():
            classes = sorted(self.protocol.class_subsets.get(f"many_shot_{task}", ()))
            recall = class_mean_recall(top5[:, classes], rows[:, classes])
            scores[task] = _percent(
                top1=accuracy(top1, rows), top5=accuracy(top5, rows), many_shot_recall=recall
            )
            _warn_if_empty(f"many-shot {task}", int(rows[:, classes].sum()))
        return {"overall": scores}

    def _all_class_scores(self, counts: dict[str, Counts]) -> dict[str, Any]:
        scores = {}
        for task, (rows, top1, top5) in counts.items():
            scores[task] = _percent(
                top1=accuracy(top1, rows),
                top5=accuracy(top5, rows),
                recall=class_mean_recall(top5, rows),
                top1_recall=class_mean_recall(top1, rows),
            )
            _warn_if_empty(f"overall {task}", int(rows.sum()))
        return {"overall": scores}

    def members(self, task: str, segment_ids: Sequence[str]) -> Bool[np.ndarray, "subsets rows"]:
        """Tell which rows each subset holds; the tail is another one for each task."""
        names = {"unseen": "unseen", "tail": f"tail_{task}"}
        ids = {subset: self.protocol.row_subsets.get(name, ()) for subset, name in names.items()}
        return np.array(
            [
                [subset == "overall" or segment_id in ids[subset] for segment_id in segment_ids]
                for subset in self.subsets
            ]
        )


def _percent(**shares: np.ndarray) -> dict[str, float]:
    return {name: 100 * float(share[0]) for name, share in shares.items()}


def _warn_if_empty(name: str, num_rows: int) -> None:
    if not num_rows:
        warnings.warn(
            f"{name}: no scored row, so the score is NaN", EmptySubsetWarning, stacklevel=3
        )
