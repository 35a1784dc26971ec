"""The table of short-term anticipation: subsets, tasks and measures down; methods across."""

from collections.abc import Mapping
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
    names = dict.fromkeys(
        name for named in scores.values() for name in named if name.split("/")[0] not in COMPLEMENTS
    )
    heading = f"{title} (%)" + (", synthetic features" if synthetic else "")
    width = min(len(heading), 78)  # else a narrow table breaks its title
    table = Table(title=heading, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), min_width=width)
    table.add_column("")
    for method in scores:
        table.add_column(method, justify="right", vertical="bottom")
    for name in names:
        label = name.replace("_", " ").replace("/", " ")
        table.add_row(label, *(_number(named.get(name)) for named in scores.values()))
    return table


def _number(value: float | None) -> str:
    # `value != value` is NaN: nothing to measure.
    return _ABSENT if value is None or value != value else f"{value:.1f}"
