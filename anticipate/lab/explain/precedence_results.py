"""Files about all pairs of actions: the matrix, its picture, a table with a row for each action."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from anticipate.figures.actions_figure import matrices_figure
from anticipate.figures.style import save_figure
from anticipate.lab.explain.bigrams import pooled_correlation, previous_given_next, row_correlations
from anticipate.lab.explain.results_folder import write_csv

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
    """Draw attention beside the training part, for the actions most frequent there."""
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
    """Return how attention and training rank pairs of actions alike (Spearman)."""
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
