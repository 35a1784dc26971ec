"""`anticipate explain forward`: which past actions AGA attends to when it expects an action.

Written into the output folder: `bars.png` (attention to some possible predecessors of one action,
beside how often each of them came before it in training), `matrix.png` (the same for pairs of the
most frequent actions), both as SVG too; `matrix.csv` (attention of every action, a row each, to
every other one; `matrix.npy` for more than 500 actions); `actions.csv` (for every action its rank
correlations and the predecessors attended to most); `forward.json`.

Unless candidates are named they are the 5 actions that came before the action most often in
training, then those that the network attends to most, 10 in all.
"""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from anticipate.console import CommandParser
from anticipate.errors import ConfigError
from anticipate.explain.aga_run import AGARun, action_ids, add_run_arguments, load_aga
from anticipate.explain.bigrams import (
    bigram_counts,
    pooled_correlation,
    previous_given_next,
    row_correlations,
    usual_predecessors,
)
from anticipate.explain.precedence import Reduction, precedence
from anticipate.explain.results_folder import results_folder, write_csv, write_json
from anticipate.report.action_figures import action_matrices, predecessor_bars
from anticipate.report.pictures import save_picture

NUM_USUAL, NUM_CANDIDATES = 5, 10
"""Default candidates: usual predecessors, and all of them."""
MOST_IN_CSV = 500
"""Actions whose matrix is written as text: the 3,806 of EPIC-Kitchens-100 would take 150 MB."""
NUM_DRAWN = 40
"""Actions in the picture of the matrix, so that their names can be read."""
NUM_LISTED = 5
"""Predecessors listed for every action."""

Matrix = Float[np.ndarray, "actions actions"]


class Precedence(NamedTuple):
    """What the network attends to, and what came before what in training."""

    vocabulary: tuple[str, ...]
    attention: Matrix
    """A row for each expected action, over all past actions."""
    counts: Int[np.ndarray, "actions actions"]


def main(argv: list[str]) -> None:
    """Explain what one checkpoint attends to.

    Args:
        argv: The analysis's name and its options.

    Raises:
        AnticipateError: Any mistake of the user.
    """
    options = _parser().parse_args(argv[1:])
    run = load_aga(options.ckpt, options.data)
    vocabulary = run.data.vocabulary
    named = None if options.candidates is None else action_ids(options.candidates, vocabulary)
    if named is not None and len(named) < 2:
        raise ConfigError(
            "one candidate gets all the attention: name at least two after --candidates"
        )
    action = None if options.action is None else action_ids([options.action], vocabulary)[0]
    found = compare(run, options.reduce)
    if action is None:
        action = int(found.counts.sum(axis=1).argmax())
    candidates = default_candidates(found, action) if named is None else named
    bars = precedence(run.network, [action], candidates, options.reduce)[0]
    with results_folder(options.output) as folder:
        _write(folder, options, run, found, _Bars(action, candidates, bars))


def compare(run: AGARun, reduction: Reduction) -> Precedence:
    """Return the attention between all pairs of actions and the pairs of the training part.

    Args:
        run: Network and data.
        reduction: As of `precedence`.

    Raises:
        ConfigError: Attention is visual.
    """
    everything = range(run.data.num_classes)
    return Precedence(
        run.data.vocabulary,
        precedence(run.network, everything, everything, reduction),
        bigram_counts(run.data.train_segments, run.data.num_classes),
    )


def default_candidates(found: Precedence, action: int) -> list[int]:
    """Return the actions that usually come before one, then those attended to most."""
    usual = usual_predecessors(found.counts[action], NUM_USUAL)
    attended = np.argsort(-found.attention[action], kind="stable").tolist()
    return list(dict.fromkeys([*usual, *attended]))[:NUM_CANDIDATES]


class _Bars(NamedTuple):
    """One action and the attention to some candidates."""

    action: int
    candidates: list[int]
    shares: Float[np.ndarray, " candidates"]


def _write(folder: Path, options: Namespace, run: AGARun, found: Precedence, bars: _Bars) -> None:
    names = found.vocabulary
    counts = found.counts[bars.action, bars.candidates]
    frequency = counts / counts.sum() if counts.any() else None
    chosen = [names[candidate] for candidate in bars.candidates]
    title = f"What comes before '{names[bars.action]}'"
    save_picture(predecessor_bars(chosen, bars.shares, frequency, title, run.note), folder, "bars")
    _draw_matrix(folder, run, found)
    _write_matrix(folder, found)
    by_action = row_correlations(found.attention, found.counts, only_seen=False)
    _write_actions(folder / "actions.csv", found, by_action)
    document = {
        "checkpoint": str(options.ckpt),
        "dataset": run.data.dataset,
        "synthetic": run.data.synthetic,
        "reduce": options.reduce,
        "action": names[bars.action],
        "candidates": [
            {"action": name, "attention": share, "training_count": count}
            for name, share, count in zip(
                chosen, bars.shares.tolist(), counts.tolist(), strict=True
            )
        ],
        "rank_correlation": _correlations(found, by_action),
    }
    write_json(folder / "forward.json", document)


def _correlations(
    found: Precedence, by_action: Float[np.ndarray, " actions"]
) -> dict[str, float | int]:
    """Return how the matrix agrees with the training part in ranks (Spearman)."""
    known = by_action[np.isfinite(by_action)]
    return {
        "pairs_seen": pooled_correlation(found.attention, found.counts),
        "mean_over_actions": float(known.mean()) if known.size else float("nan"),
        "num_pairs_seen": int((found.counts > 0).sum()),
        "num_actions": int(known.size),
    }


def _draw_matrix(folder: Path, run: AGARun, found: Precedence) -> None:
    frequent = np.argsort(-found.counts.sum(axis=1), kind="stable")[:NUM_DRAWN]
    shown = np.ix_(frequent, frequent)
    panels = {
        "attention": found.attention[shown],
        "training": np.nan_to_num(previous_given_next(found.counts))[shown],
    }
    names = [found.vocabulary[action] for action in frequent]
    count = len(found.vocabulary)
    which = f"the {len(names)} most frequent of {count:,} actions" if count > len(names) else ""
    title = "Which action comes before which" + (f": {which}" if which else "")
    save_picture(action_matrices(panels, names, title, run.note), folder, "matrix")


def _write_matrix(folder: Path, found: Precedence) -> None:
    names = found.vocabulary
    if len(names) > MOST_IN_CSV:
        np.save(folder / "matrix.npy", found.attention)
        return
    rows = ([name, *row] for name, row in zip(names, found.attention.tolist(), strict=True))
    write_csv(folder / "matrix.csv", ["expected", *names], rows)


def _write_actions(path: Path, found: Precedence, by_action: Float[np.ndarray, " actions"]) -> None:
    header = ["expected", "times_seen", "rank_correlation", "rank_correlation_seen"]
    header += [f"{what}_{rank + 1}" for rank in range(NUM_LISTED) for what in ("past", "attention")]
    write_csv(path, header, _action_rows(found, by_action))


def _action_rows(
    found: Precedence, by_action: Float[np.ndarray, " actions"]
) -> Iterator[list[str | float]]:
    seen = row_correlations(found.attention, found.counts, only_seen=True)
    for action, row in enumerate(found.attention):
        best = np.argsort(-row, kind="stable")[:NUM_LISTED]
        pairs = [(found.vocabulary[past], float(row[past])) for past in best]
        yield [
            found.vocabulary[action],
            int(found.counts[action].sum()),
            *(
                "" if np.isnan(value) else float(value)
                for value in (by_action[action], seen[action])
            ),
            *(item for pair in pairs for item in pair),
        ]


def _parser() -> Any:
    parser = CommandParser(prog="anticipate explain forward", description=__doc__)
    add_run_arguments(parser)
    parser.add_argument(
        "--action", help="expected action to draw (default: the most frequent one in training)"
    )
    parser.add_argument("--candidates", nargs="+", metavar="ACTION", help="its possible past")
    parser.add_argument(
        "--reduce",
        choices=("mean_logits", "mean_probs"),
        default="mean_logits",
        help="average the heads, then take the softmax (default), or the other way round",
    )
    return parser
