"""`anticipate explain forward`: which past actions AGA attends to when it expects an action.

Written into the output folder: `bars.png` (attention to some possible predecessors of one action,
and how often each of them came before it in training), `matrix.png` (the same for pairs of the
most frequent actions), both as SVG too; `matrix.csv` (attention of every action, a row each, to
every action; `matrix.npy` for more than 500 actions); `actions.csv` (for every action its rank
correlations and the past actions attended to most); `forward.json` (the bars, and how attention and
training agree in ranks: Spearman over all pairs seen in training, and over all actions within each
row, mean of the rows).

Unless candidates are named they are the 5 actions that came before the action most often in
training, then those that the network attends to most, 10 in all.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from anticipate.console import CommandParser
from anticipate.errors import ConfigError
from anticipate.figures.actions_figure import predecessors_figure
from anticipate.figures.style import save_figure
from anticipate.lab.explain.aga_run import AGARun, action_ids, load_aga
from anticipate.lab.explain.explain_command import add_run_arguments, results_folder, write_json
from anticipate.lab.explain.precedence import (
    Precedence,
    Reduction,
    bigram_counts,
    correlations,
    draw_matrix,
    precedence,
    usual_predecessors,
    write_actions,
    write_matrix,
)

NUM_USUAL, NUM_CANDIDATES = 5, 10
"""Default candidates: usual predecessors, and all of them."""


class Bars(NamedTuple):
    """Attention to some possible predecessors of one action."""

    action: str
    candidates: list[str]
    attention: Float[np.ndarray, " candidates"]
    counts: Int[np.ndarray, " candidates"]
    """How often each came directly before the action in training."""


def main(argv: list[str]) -> None:
    """Explain what one checkpoint attends to.

    Args:
        argv: The analysis's name and its options.

    Raises:
        AnticipateError: Any mistake of the user.
    """
    options = _parser().parse_args(argv[1:])
    run = load_aga(options.ckpt, options.data, (), options.allow_foreign_checkpoint)
    candidates = _named_candidates(options.candidates, run.data.vocabulary)
    action = None if options.action is None else action_ids([options.action], run.data.vocabulary)
    found = compare(run, options.reduce)
    expected = int(found.counts.sum(axis=1).argmax()) if action is None else action[0]
    bars = ask(run, found, expected, candidates, options.reduce)
    with results_folder(options.output) as folder:
        _draw_bars(folder, bars, run.note)
        draw_matrix(folder, found, run.note)
        write_matrix(folder, found)
        write_actions(folder / "actions.csv", found)
        origin = {
            "checkpoint": str(options.ckpt),
            **run.origin,
            "reduce": options.reduce,
        }
        document = {**origin, **_bars_document(bars), "rank_correlation": correlations(found)}
        write_json(folder / "forward.json", document)


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


def ask(
    run: AGARun,
    found: Precedence,
    action: int,
    candidates: list[int] | None,
    reduction: Reduction,
) -> Bars:
    """Return how attention is shared among the candidates when an action is expected.

    Args:
        run: Network and data.
        found: All pairs.
        action: Expected action.
        candidates: Possible past actions; chosen by `default_candidates` when None.
        reduction: As of `precedence`.
    """
    chosen = default_candidates(found, action) if candidates is None else candidates
    names = [found.vocabulary[candidate] for candidate in chosen]
    attention = precedence(run.network, [action], chosen, reduction)[0]
    return Bars(found.vocabulary[action], names, attention, found.counts[action, chosen])


def default_candidates(found: Precedence, action: int) -> list[int]:
    """Return the actions that usually come before one, then those attended to most.

    Args:
        found: All pairs.
        action: Expected action.
    """
    usual = usual_predecessors(found.counts[action], NUM_USUAL)
    attended = np.argsort(-found.attention[action], kind="stable").tolist()
    return list(dict.fromkeys([*usual, *attended]))[:NUM_CANDIDATES]


def _named_candidates(names: list[str] | None, vocabulary: tuple[str, ...]) -> list[int] | None:
    if names is None:
        return None
    candidates = action_ids(names, vocabulary)
    if len(candidates) < 2:
        raise ConfigError(
            "one candidate gets all the attention: name at least two after --candidates"
        )
    return candidates


def _draw_bars(folder: Path, bars: Bars, note: str) -> None:
    total = bars.counts.sum()
    frequency = bars.counts / total if total else None
    title = f"What comes before '{bars.action}'"
    figure = predecessors_figure(bars.candidates, bars.attention, frequency, title, note)
    save_figure(figure, folder, "bars")


def _bars_document(bars: Bars) -> dict[str, Any]:
    columns = (bars.candidates, bars.attention.tolist(), bars.counts.tolist())
    return {
        "action": bars.action,
        "candidates": [
            {"action": name, "attention": share, "training_count": count}
            for name, share, count in zip(*columns, strict=True)
        ],
    }


def _parser() -> CommandParser:
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
