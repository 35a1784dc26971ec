"""The table of short-term anticipation: methods down; subsets, tasks and measures across."""

from collections.abc import Mapping
from itertools import pairwise, zip_longest
from typing import Any

from rich import box
from rich.table import Table

from anticipate.protocol.measures import named_scores

COMPLEMENTS = ("seen",)
"""Subsets that only the files hold: the papers' tables leave them out."""

_ABSENT = "-"


def short_term_table(title: str, rows: Mapping[str, Mapping[str, Any]], synthetic: bool) -> Table:
    """Compare methods by every score of the data set's protocol, in percent.

    Args:
        title: What was scored.
        rows: Scores by name of the method, as `anticipate score short-term --json` prints them.
        synthetic: Whether the features were made from the labels; noted in the title.
    """
    scores = {method: named_scores(document) for method, document in rows.items()}
    columns = dict.fromkeys(
        name for named in scores.values() for name in named if name.split("/")[0] not in COMPLEMENTS
    )
    heading = f"{title} (%)" + (", synthetic features" if synthetic else "")
    table = Table(title=heading, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("method", vertical="bottom")
    for header in _headers(list(columns)):
        table.add_column(header, justify="right", vertical="bottom")
    for method, named in scores.items():
        table.add_row(method, *(_number(named.get(column)) for column in columns))
    return table


def _headers(columns: list[str]) -> list[str]:
    """Stack the parts of each name; a subset or task is only above the first of its columns."""
    paths = [column.replace("_", " ").split("/") for column in columns]
    return [_below(left, path) for left, path in pairwise([[], *paths])]


def _below(left: list[str], path: list[str]) -> str:
    pairs = zip_longest(left, path)
    shared = next(level for level, (ours, theirs) in enumerate(pairs) if ours != theirs)
    return "\n".join([*[""] * shared, *path[shared:]])


def _number(value: float | None) -> str:
    # `value != value` is NaN: nothing to measure.
    return _ABSENT if value is None or value != value else f"{value:.1f}"
