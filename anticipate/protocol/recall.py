"""Counts of short-term anticipation: where scores rank the true class, and recalls of such hits.

A class is ahead of another if it scores higher, or equally and has the larger id: the order of an
ascending stable sort read backwards. Only the rank of the true class is needed, so nothing is
sorted, and every top-k measure follows from one pass over the scores.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer

from anticipate.protocol.moc import quotient
from anticipate.types import Taxonomy

Phantom = Literal["rulstm", "zero"]
"""What a verb or noun without any action scores: `rulstm`, as in the public evaluations that follow
RULSTM, the probability of action 0; `zero`, none."""


class Grouping(NamedTuple):
    """Actions sorted by their verb, or by their noun."""

    order: Int64[np.ndarray, " actions"]
    """Action ids, those of one group side by side."""
    starts: Int64[np.ndarray, " used"]
    """Where each group that has an action begins in `order`."""
    used: Int64[np.ndarray, " used"]
    """Ids of these groups, ascending."""
    num_groups: int


def group_actions(groups: Sequence[int], num_groups: int) -> Grouping:
    """Prepare `marginalize`.

    Args:
        groups: Verb (or noun) of each action.
        num_groups: Size of the verb (or noun) label space.
    """
    order = np.argsort(groups, kind="stable")
    used, starts = np.unique(np.asarray(groups)[order], return_index=True)
    return Grouping(order, starts, used, num_groups)


def softmax(logits: Float64[np.ndarray, "rows classes"]) -> Float64[np.ndarray, "rows classes"]:
    """Turn scores into probabilities."""
    probs = np.exp(logits - logits.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    return probs


def marginalize(
    probs: Float64[np.ndarray, "rows actions"], grouping: Grouping, phantom: Phantom
) -> Float64[np.ndarray, "rows groups"]:
    """Add the probabilities of the actions of each verb (or noun).

    >>> verbs = group_actions((2, 0, 2), num_groups=4)
    >>> marginalize(np.array([[0.5, 0.25, 0.25]]), verbs, "zero").tolist()
    [[0.25, 0.0, 0.75, 0.0]]
    >>> marginalize(np.array([[0.5, 0.25, 0.25]]), verbs, "rulstm").tolist()
    [[0.25, 0.5, 0.75, 0.5]]
    """
    filler = probs[:, :1] if phantom == "rulstm" else 0.0
    sums = np.broadcast_to(filler, (len(probs), grouping.num_groups)).copy()
    sums[:, grouping.used] = np.add.reduceat(probs[:, grouping.order], grouping.starts, axis=1)
    return sums


def target_ranks(
    scores: Float64[np.ndarray, "rows classes"], targets: Integer[np.ndarray, " rows"]
) -> Int64[np.ndarray, " rows"]:
    """Count the classes that are ahead of the true one in each row.

    NaN is ahead of everything and nothing is ahead by being compared with it, so a row that scores
    its true class NaN ranks it behind all others.

    >>> target_ranks(np.array([[0.1, 0.7, 0.7], [0.0, 0.0, 0.0]]), np.array([1, 1])).tolist()
    [1, 1]
    """
    own = np.take_along_axis(scores, targets[:, None], axis=1)
    behind = np.count_nonzero(scores < own, axis=1)
    tied_behind = (scores == own) & (np.arange(scores.shape[1]) <= targets[:, None])
    return scores.shape[1] - behind - np.count_nonzero(tied_behind, axis=1)


def count_classes(
    targets: Integer[np.ndarray, " rows"],
    subsets: Bool[np.ndarray, "subsets rows"],
    num_classes: int,
) -> Int64[np.ndarray, "subsets classes"]:
    """Count the rows of each true class in each subset of the rows."""
    return np.stack([np.bincount(targets[rows], minlength=num_classes) for rows in subsets])


def class_mean_recall(
    hits: Int64[np.ndarray, "*batch classes"], rows: Int64[np.ndarray, "*batch classes"]
) -> Float64[np.ndarray, "*batch"]:
    """Return the mean over the classes that occur of the share of their rows that are hits.

    NaN where no class occurs.

    >>> class_mean_recall(np.array([[1, 3, 0]]), np.array([[2, 3, 0]])).tolist()
    [0.75]
    """
    return quotient((hits / np.maximum(rows, 1)).sum(-1), (rows > 0).sum(-1))


def accuracy(
    hits: Int64[np.ndarray, "*batch classes"], rows: Int64[np.ndarray, "*batch classes"]
) -> Float64[np.ndarray, "*batch"]:
    """Return the share of all rows that are hits; NaN without rows.

    >>> accuracy(np.array([[1, 3, 0]]), np.array([[2, 3, 0]])).tolist()
    [0.8]
    """
    return quotient(hits.sum(-1), rows.sum(-1))


TOP = 5
"""Classes that may be named for each row: the next action is uncertain."""


class TaskRanks(NamedTuple):
    """How the rows rank their true class in one task."""

    targets: Integer[np.ndarray, " rows"]
    """True class of each row."""
    ranks: Int64[np.ndarray, " rows"]
    """Classes ahead of the true one."""


class Tasks:
    """The three tasks of a data set; the score of a verb or noun is the probability of its actions.

    A row of scores may also hold, after the actions, scores of all verbs and then of all nouns: a
    model with own outputs for them. These then count.

    Args:
        taxonomy: Verb and noun of each action.
        phantom: What verbs and nouns without any action score.
    """

    def __init__(self, taxonomy: Taxonomy, phantom: Phantom) -> None:
        self.phantom = phantom
        self._classes = {"verb": np.array(taxonomy.verbs), "noun": np.array(taxonomy.nouns)}
        self._groupings = {
            "verb": group_actions(taxonomy.verbs, taxonomy.num_verbs),
            "noun": group_actions(taxonomy.nouns, taxonomy.num_nouns),
        }
        self.num_classes = {
            "verb": taxonomy.num_verbs,
            "noun": taxonomy.num_nouns,
            "action": len(taxonomy.verbs),
        }

    def actions(
        self, scores: Float64[np.ndarray, "rows scores"]
    ) -> Float64[np.ndarray, "rows actions"]:
        """Return the scores of the actions alone."""
        return scores[:, : self.num_classes["action"]]

    def widths(self) -> tuple[int, int]:
        """Return how many scores a row may have: of actions alone, and of all three tasks."""
        return self.num_classes["action"], sum(self.num_classes.values())

    def marginals(
        self, scores: Float64[np.ndarray, "rows scores"]
    ) -> dict[str, Float64[np.ndarray, "rows _"]]:
        """Return the probabilities of all verbs and of all nouns."""
        actions, own = np.split(scores, self.widths()[:1], axis=1)
        if own.shape[1]:
            verbs, nouns = np.split(own, [self.num_classes["verb"]], axis=1)
            return {"verb": softmax(verbs), "noun": softmax(nouns)}
        probs = softmax(actions)
        return {
            task: marginalize(probs, grouping, self.phantom)
            for task, grouping in self._groupings.items()
        }

    def ranks(
        self, scores: Float64[np.ndarray, "rows scores"], actions: Integer[np.ndarray, " rows"]
    ) -> dict[str, TaskRanks]:
        """Rank the true verb, noun and action of each row.

        Args:
            scores: Score of each action, of any scale; where a model has them, of verbs and nouns.
            actions: True action of each row.
        """
        ranks = {}
        for task, own in self.marginals(scores).items():
            targets = self._classes[task][actions]
            ranks[task] = TaskRanks(targets, target_ranks(own, targets))
        return ranks | {"action": TaskRanks(actions, target_ranks(self.actions(scores), actions))}
