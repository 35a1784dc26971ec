"""Which action came before which in an annotation, and how well a ranking agrees with that."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from anticipate.datasets.file.segment_table import SegmentTable

LEAST_PAIRS = 3
"""Fewer pairs have no rank correlation worth the name."""


def bigram_counts(segments: SegmentTable, num_actions: int) -> Int[np.ndarray, "actions actions"]:
    """Count how often each action (row) came directly after each other one (column).

    Args:
        segments: Labelled segments; those of a video are taken in the order in which they start.
        num_actions: Number of actions.
    """
    counts = np.zeros((num_actions, num_actions), np.int32)
    for rows in segments.by_video().values():
        order = rows[np.argsort(segments.starts[rows], kind="stable")]
        actions = segments.actions[order]
        np.add.at(counts, (actions[1:], actions[:-1]), 1)
    return counts


def previous_given_next(
    counts: Int[np.ndarray, "actions actions"],
) -> Float[np.ndarray, "actions actions"]:
    """Return P(previous | next), a row for each next action; NaN where nothing came before it."""
    totals = counts.sum(axis=1, keepdims=True)
    return counts / np.where(totals, totals, np.nan)


def rank_correlation(
    first: Float[np.ndarray, " pairs"], second: Float[np.ndarray, " pairs"]
) -> float:
    """Return Spearman's rank correlation, equal values sharing the mean of their ranks.

    NaN for fewer than three pairs, or where all values of one side are equal.
    """
    ranks = [pd.Series(values).rank().to_numpy() for values in (first, second)]
    if len(first) < LEAST_PAIRS or not all(np.ptp(rank) for rank in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def row_correlations(
    attention: Float[np.ndarray, "actions actions"],
    counts: Int[np.ndarray, "actions actions"],
    only_seen: bool,
) -> Float[np.ndarray, " actions"]:
    """Return for each next action how attention to its predecessors ranks with their counts.

    Args:
        attention: A row for each next action.
        counts: Of the pairs in the training part, likewise.
        only_seen: Whether only predecessors that were seen are compared, else all actions.

    Returns:
        Correlations; NaN for actions that nothing, or too little, was seen before.
    """
    return np.array(
        [
            rank_correlation(weights[chosen], row[chosen].astype(np.float64))
            for weights, row in zip(attention, counts, strict=True)
            for chosen in (np.flatnonzero(row) if only_seen else _all_or_none(row),)
        ]
    )


def pooled_correlation(
    attention: Float[np.ndarray, "actions actions"], counts: Int[np.ndarray, "actions actions"]
) -> float:
    """Return the rank correlation of attention with P(previous | next) over all pairs seen."""
    seen = counts > 0
    return rank_correlation(attention[seen].astype(np.float64), previous_given_next(counts)[seen])


def usual_predecessors(counts: Int[np.ndarray, " actions"], most: int) -> Sequence[int]:
    """Return the actions that came most often before one, most frequent first.

    Args:
        counts: How often each action came before it.
        most: Most actions to return; those never seen are left out.
    """
    order = np.argsort(-counts, kind="stable")[:most]
    return [int(action) for action in order if counts[action]]


def _all_or_none(row: Int[np.ndarray, " actions"]) -> Int[np.ndarray, " chosen"]:
    return np.arange(len(row) if row.any() else 0)
