"""Verb, noun and action: how scores of actions rank the true class of each."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, Integer

from anticipate.metrics.recall import Phantom, group_actions, marginalize, softmax, target_ranks
from anticipate.types import Taxonomy

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

    def marginals(
        self, logits: Float64[np.ndarray, "rows actions"]
    ) -> dict[str, Float64[np.ndarray, "rows _"]]:
        """Return the probabilities of all verbs and of all nouns."""
        probs = softmax(logits)
        return {
            task: marginalize(probs, grouping, self.phantom)
            for task, grouping in self._groupings.items()
        }

    def ranks(
        self, logits: Float64[np.ndarray, "rows actions"], actions: Integer[np.ndarray, " rows"]
    ) -> dict[str, TaskRanks]:
        """Rank the true verb, noun and action of each row.

        Args:
            logits: Score of each action, of any scale.
            actions: True action of each row.
        """
        ranks = {}
        for task, scores in self.marginals(logits).items():
            targets = self._classes[task][actions]
            ranks[task] = TaskRanks(targets, target_ranks(scores, targets))
        return ranks | {"action": TaskRanks(actions, target_ranks(logits, actions))}
