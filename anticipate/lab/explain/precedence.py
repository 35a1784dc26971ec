"""Which past action comes before which: what AGA attends to, and what the training segments say."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.stats import spearmanr
from torch import Tensor

from anticipate.datasets.file.segment_table import SegmentTable
from anticipate.figures.actions_figure import matrices_figure
from anticipate.figures.style import save_figure
from anticipate.lab.explain.aga_run import guidance_of
from anticipate.lab.explain.explain_command import write_csv
from anticipate.nn.aga import AGA

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
    if len(first) < LEAST_PAIRS or not (np.ptp(first) and np.ptp(second)):
        return float("nan")
    return float(spearmanr(first, second).statistic)


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


Reduction = Literal["mean_logits", "mean_probs"]

CERTAINTY = 10.0
"""Logit of the action that a prediction in logit space is about; LayerNorm hides the scale."""
MOST_SCORES = 2**25
"""Attention logits held at once: 128 MiB."""


def precedence(
    network: AGA,
    expected: Sequence[int],
    candidates: Sequence[int],
    reduction: Reduction = "mean_logits",
) -> Float[np.ndarray, "expected candidates"]:
    """Return how attention to the candidates is shared when each action is expected.

    Args:
        network: Action-guided network in evaluation mode.
        expected: Actions to ask for.
        candidates: Actions that may have come before, each once.
        reduction: `mean_logits` averages the heads, then takes the softmax over the candidates
            (what AGA's authors describe); `mean_probs` takes it in each head, then averages (the
            weights that the network's attention has).

    Returns:
        Shares; each row sums to 1.

    Raises:
        ConfigError: Attention is visual.
    """
    keys = action_keys(network, candidates)
    rows = []
    with torch.inference_mode():
        for chunk in _chunks(expected, network.retrieval.num_heads * len(candidates)):
            scores = network.attention_scores(action_queries(network, chunk), keys)
            if reduction == "mean_logits":
                rows.append(scores.mean(dim=1).softmax(dim=-1))
            else:
                rows.append(scores.softmax(dim=-1).mean(dim=1))
    return torch.cat(rows).numpy()


def action_queries(network: AGA, actions: Sequence[int]) -> Float[Tensor, "queries actions"]:
    """Return what the network asks for after a single prediction, certain of one action.

    Args:
        network: Action-guided network.
        actions: The action of each query.
    """
    guidance = guidance_of(network)
    one_hot = _one_hot(network, actions)
    if guidance.query_space == "logits" and not guidance.hard_top1:
        one_hot = CERTAINTY * one_hot
    with torch.inference_mode():
        return guidance.summarise(one_hot, ())[0]


def action_keys(network: AGA, actions: Sequence[int]) -> Float[Tensor, "keys actions"]:
    """Return what the network remembers of predictions that were certain of one action each.

    Args:
        network: Action-guided network.
        actions: The action of each key.
    """
    guidance = guidance_of(network)
    one_hot = _one_hot(network, actions)
    certain = guidance.key_space == "probs" or guidance.hard_top1
    return one_hot if certain else CERTAINTY * one_hot


def _one_hot(network: AGA, actions: Sequence[int]) -> Float[Tensor, "rows actions"]:
    ids = torch.tensor(actions, dtype=torch.long)
    return F.one_hot(ids, network.num_classes).to(torch.get_default_dtype())


def _chunks(expected: Sequence[int], scores_each: int) -> Iterator[Sequence[int]]:
    size = max(1, MOST_SCORES // scores_each)
    for start in range(0, len(expected), size):
        yield expected[start : start + size]


MOST_IN_CSV = 500
"""Actions whose matrix is written as text: the 3,806 of EPIC-Kitchens-100 would take 300 MB."""
NUM_DRAWN = 40
"""Actions in the picture of the matrix, so that their names can be read."""
NUM_LISTED = 5
"""Past actions listed for every action."""


class Precedence(NamedTuple):
    """What a network attends to, and what came before what in training."""

    vocabulary: tuple[str, ...]
    attention: Float[np.ndarray, "actions actions"]
    """A row for each expected action, over all past actions; sums to 1."""
    counts: Int[np.ndarray, "actions actions"]
    """How often the action of the column came directly before that of the row."""


def write_matrix(folder: Path, found: Precedence) -> None:
    """Write `matrix.csv`, or `matrix.npy` for more than `MOST_IN_CSV` actions."""
    names = found.vocabulary
    if len(names) > MOST_IN_CSV:
        np.save(folder / "matrix.npy", found.attention)
        return
    rows = ([name, *row] for name, row in zip(names, found.attention.tolist(), strict=True))
    write_csv(folder / "matrix.csv", ["expected", *names], rows)


def draw_matrix(folder: Path, found: Precedence, note: str) -> None:
    """Draw attention and the counts of the training part, for the actions most frequent there."""
    frequent = np.argsort(-found.counts.sum(axis=1), kind="stable")[:NUM_DRAWN]
    shown = np.ix_(frequent, frequent)
    panels = {
        "attention of AGA": found.attention[shown],
        "frequency in training": np.nan_to_num(previous_given_next(found.counts))[shown],
    }
    names, count = [found.vocabulary[action] for action in frequent], len(found.vocabulary)
    which = f": the {len(names)} most frequent of {count:,} actions" if count > len(names) else ""
    title = f"Which action comes before which{which}"
    save_figure(matrices_figure(panels, names, title, note), folder, "matrix")


def write_actions(path: Path, found: Precedence) -> None:
    """Write rank correlations and the past actions attended to most, for every action."""
    header = ["expected", "times_seen", "rank_correlation", "rank_correlation_seen"]
    header += [f"{what}_{rank + 1}" for rank in range(NUM_LISTED) for what in ("past", "attention")]
    write_csv(path, header, _action_rows(found))


def correlations(found: Precedence) -> dict[str, float | int]:
    """Return the rank correlation of attention and training over pairs of actions (Spearman)."""
    by_action = row_correlations(found.attention, found.counts, only_seen=False)
    known = by_action[np.isfinite(by_action)]
    return {
        "pairs_seen": pooled_correlation(found.attention, found.counts),
        "mean_over_actions": float(known.mean()) if known.size else float("nan"),
        "num_pairs_seen": int((found.counts > 0).sum()),
        "num_actions": int(known.size),
    }


def _action_rows(found: Precedence) -> Iterator[list[str | float]]:
    over_all, over_seen = (
        row_correlations(found.attention, found.counts, only_seen) for only_seen in (False, True)
    )
    for action, shares in enumerate(found.attention):
        best = np.argsort(-shares, kind="stable")[:NUM_LISTED]
        pairs = [(found.vocabulary[past], float(shares[past])) for past in best]
        ranks = (float(values[action]) for values in (over_all, over_seen))
        yield [
            found.vocabulary[action],
            int(found.counts[action].sum()),
            *("" if np.isnan(rank) else rank for rank in ranks),
            *(item for pair in pairs for item in pair),
        ]
