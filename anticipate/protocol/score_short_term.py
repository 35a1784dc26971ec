"""`anticipate score short-term`: recalls and accuracies of the next action."""

import warnings
from argparse import Namespace
from collections.abc import Sequence
from typing import Any, get_args

import torch
from rich.console import Console

from anticipate.console import CommandParser, notice, print_json
from anticipate.datasets.file.segment_table import UNKNOWN, SegmentTable
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.errors import ConfigError
from anticipate.protocol.recall import Phantom
from anticipate.protocol.short_term_predictions import (
    Missing,
    ShortTermPredictionsReader,
    check_release,
)
from anticipate.protocol.short_term_scores import EmptySubsetWarning, ShortTermScores
from anticipate.protocol.short_term_table import short_term_table

VALIDATION = ("val", "validation")
"""Names of the validation rows of a data set that has one split."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the options of `anticipate score short-term`."""
    parser.add_argument(
        "predictions", metavar="PREDICTIONS.h5", help="text `id`, floats `action` (rows, actions)"
    )
    add_row_arguments(parser)
    parser.add_argument(
        "--phantom",
        choices=get_args(Phantom),
        default="rulstm",
        help="what verbs and nouns without any action score: the probability of action 0, as in "
        "published evaluations, or nothing (default: rulstm)",
    )


def add_row_arguments(
    parser: CommandParser, missing: Sequence[Missing] = get_args(Missing)
) -> None:
    """Declare the options that say which rows are scored, and how the result is printed.

    Args:
        parser: The parser of the command.
        missing: What may become of rows without predictions.
    """
    parser.add_argument("--data", required=True, metavar="FILE.h5", help="the prepared data file")
    parser.add_argument(
        "--split",
        default="val",
        metavar="NAME",
        help="val, or the number of a split whose validation rows are scored (default: val)",
    )
    parser.add_argument(
        "--missing",
        choices=missing,
        default="error",
        help="what becomes of rows without predictions; zero: all their scores are 0 "
        "(default: error)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: Namespace) -> None:
    """Score a predictions file and print the result."""
    with (
        ShortTermPredictionsReader(options.predictions) as predictions,
        ShortTermStore(options.data) as store,
    ):
        if store.synthetic:
            notice(f"{options.data}: synthetic features")
        rows = rows_to_score(store, options.split)
        scores = score_short_term(predictions, store, rows, options.missing, options.phantom)
        if options.json:
            print_json(scores)
        else:
            title = f"{store.dataset}, {scores['num_scored']} rows"
            name = predictions.path.name
            Console().print(short_term_table(title, {name: scores}, store.synthetic))


def rows_to_score(store: ShortTermStore, split: str) -> SegmentTable:
    """Return the validation rows of a split whose action is known.

    Raises:
        ConfigError: The data file has no such split, or several to choose from.
    """
    splits = list(store.num_rows)
    if split in VALIDATION and len(splits) > 1:
        raise ConfigError(
            f"{store.path}: {store.dataset} has splits {', '.join(splits)}; choose one with --split"
        )
    rows = store.rows(splits[0] if split in VALIDATION else split, "validation")
    return rows.take((rows.actions != UNKNOWN).nonzero()[0])


def score_short_term(
    predictions: ShortTermPredictionsReader,
    store: ShortTermStore,
    rows: SegmentTable,
    missing: Missing = "error",
    phantom: Phantom = "rulstm",
) -> dict[str, Any]:
    """Score rows of a predictions file.

    Args:
        predictions: The scores of all actions.
        store: The data file.
        rows: The rows to score.
        missing: What becomes of rows without predictions.
        phantom: What verbs and nouns without any action score.

    Returns:
        What `ShortTermScores.compute` returns, and `num_missing`.

    Raises:
        DataError: Predictions are missing, of another release, or cannot be read.
    """
    check_release(predictions, store, rows)
    metric = ShortTermScores(store.protocol(), phantom)
    for positions, logits in predictions.aligned(rows.segment_ids, missing):
        targets = torch.from_numpy(rows.actions[positions])
        segment_ids = [rows.segment_ids[position] for position in positions.tolist()]
        metric.update(torch.from_numpy(logits), targets, segment_ids)
    return _compute(metric) | {"num_missing": len(predictions.missing(rows.segment_ids))}


def _compute(metric: ShortTermScores) -> dict[str, Any]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", EmptySubsetWarning)
        scores = metric.compute()
    for warning in caught:
        notice(str(warning.message))
    return scores
