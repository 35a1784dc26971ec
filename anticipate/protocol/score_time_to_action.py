"""Time to action: how early the true class is among the first five (RULSTM, EK-55)."""

from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64
from rich import box
from rich.console import Console
from rich.table import Table

from anticipate.console import CommandParser, notice, print_json
from anticipate.datasets.file.segment_table import SegmentTable
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.errors import ConfigError
from anticipate.protocol.recall import TOP, Tasks
from anticipate.protocol.score_short_term import add_row_arguments, rows_to_score
from anticipate.protocol.short_term_predictions import (
    Missing,
    ShortTermPredictionsReader,
    check_release,
)


def time_to_action(
    hits: Bool[np.ndarray, "times rows"], times: Sequence[float]
) -> Float64[np.ndarray, " rows"]:
    """Return, for each row, the longest time before the action at which it is foreseen.

    Args:
        hits: Whether the true class is among the first five, by time of the last observed frame.
        times: Seconds from that frame to the action.

    Returns:
        Seconds; 0 where the action is never foreseen.

    >>> hits = np.array([[False, False], [True, False], [False, False]])
    >>> time_to_action(hits, (1.5, 1.0, 0.5)).tolist()
    [1.0, 0.0]
    """
    return (hits * np.asarray(times, np.float64)[:, None]).max(0)


class TimedFile(NamedTuple):
    """A predictions file whose observations end some time before the actions start."""

    seconds: float
    path: str


def add_arguments(parser: CommandParser) -> None:
    """Declare the options of `anticipate score time-to-action`."""
    parser.add_argument(
        "predictions",
        nargs="+",
        type=_timed_file,
        metavar="SECONDS=PREDICTIONS.h5",
        help="predictions at several anticipation times; the tables have 2.0, 1.75 .. 0.25",
    )
    add_row_arguments(parser, ("error", "zero"))


def run(options: Namespace) -> None:
    """Score the files together and print the result."""
    timed = sorted(options.predictions, reverse=True)
    if len({file.seconds for file in timed}) < len(timed):
        raise ConfigError("two predictions files have the same anticipation time; give each once")
    with ShortTermStore(options.data) as store:
        if store.synthetic:
            notice(f"{options.data}: synthetic features")
        rows = rows_to_score(store, options.split)
        scores = score_time_to_action(timed, store, rows, options.missing)
        if options.json:
            print_json(scores)
        else:
            Console().print(_table(f"{store.dataset}, {rows.num_rows} rows", scores))


def score_time_to_action(
    timed: list[TimedFile], store: ShortTermStore, rows: SegmentTable, missing: Missing = "error"
) -> dict[str, Any]:
    """Score predictions of the same rows at several anticipation times.

    Args:
        timed: The predictions files.
        store: The data file.
        rows: The rows to score.
        missing: What becomes of rows without predictions: `error` or `zero`.

    Returns:
        `time_to_action` (seconds, mean over rows) and `top5` (percent, by written time), each by
        task, and `num_scored`.

    Raises:
        DataError: Predictions are missing, of another release, or cannot be read.
    """
    tasks = Tasks(store.taxonomy, "rulstm")
    by_time = [_hits(file, store, rows, tasks, missing) for file in timed]
    hits = {task: np.stack([one[task] for one in by_time]) for task in tasks.num_classes}
    times = [file.seconds for file in timed]
    return {
        "time_to_action": {
            task: float(time_to_action(found, times).mean()) for task, found in hits.items()
        },
        "top5": {
            str(seconds): {task: 100 * float(found[t].mean()) for task, found in hits.items()}
            for t, seconds in enumerate(times)
        },
        "num_scored": rows.num_rows,
    }


def _hits(
    file: TimedFile, store: ShortTermStore, rows: SegmentTable, tasks: Tasks, missing: Missing
) -> dict[str, Bool[np.ndarray, " rows"]]:
    """Tell, by task, which rows have their true class among the first five."""
    hits = {task: np.zeros(rows.num_rows, np.bool_) for task in tasks.num_classes}
    with ShortTermPredictionsReader(file.path) as predictions:
        check_release(predictions, store, rows)
        for positions, logits in predictions.aligned(rows.segment_ids, missing):
            for task, ranked in tasks.ranks(logits, rows.actions[positions]).items():
                hits[task][positions] = ranked.ranks < TOP
    return hits


def _table(title: str, scores: dict[str, Any]) -> Table:
    table = Table(title=f"{title}: top-5 accuracy (%)", box=box.SIMPLE_HEAD)
    table.add_column("task")
    for seconds in scores["top5"]:
        table.add_column(f"{seconds} s", justify="right")
    table.add_column("time to action (s)", justify="right")
    for task, seconds in scores["time_to_action"].items():
        accuracies = [f"{by_task[task]:.1f}" for by_task in scores["top5"].values()]
        table.add_row(task, *accuracies, f"{seconds:.2f}")
    return table


def _timed_file(text: str) -> TimedFile:
    seconds, _, path = text.partition("=")
    if not path or not seconds.replace(".", "", 1).isdecimal() or float(seconds) <= 0:
        raise ArgumentTypeError(f"'{text}' is not like 1.0=PREDICTIONS.h5")
    return TimedFile(float(seconds), path)
