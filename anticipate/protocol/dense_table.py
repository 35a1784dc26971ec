"""Tables in the layout of the papers: methods down, observation ratios and horizons across.

All functions take scores as `anticipate score --json` prints them: by written observation ratio a
document with `mean_moc`, `top1_moc`, `mof`, `frame_diversity` (each by written pred ratio),
`num_videos` and `num_samples`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from rich import box
from rich.table import Table

from anticipate.protocol.measures import DENSE_MEASURES

Scores = Mapping[str, Mapping[str, Any]]
_ABSENT = "-"


class _Grid(NamedTuple):
    lead: tuple[str, ...]
    columns: list[tuple[str, str]]
    rows: list[list[str]]


def horizon_table(
    title: str, rows: Mapping[str, Scores], measure: str, synthetic: bool = False
) -> Table:
    """Compare methods by one measure.

    Args:
        title: What was scored; the name of the measure is added.
        rows: Scores by name of the method. A ratio that a method lacks stays open.
        measure: A key of `DENSE_MEASURES`.
        synthetic: Whether the features were made from the labels; noted in the title.
    """
    heading = _title(f"{title}: {DENSE_MEASURES[measure].title}", synthetic)
    return _rich_table(heading, _method_grid(rows, measure))


def horizon_markdown(
    title: str, rows: Mapping[str, Scores], measure: str, synthetic: bool = False
) -> str:
    """Write the table of `horizon_table` as Markdown; a column is headed `obs / pred ratio`."""
    grid = _method_grid(rows, measure)
    header = [*grid.lead, *(f"{obs} / {pred}" for obs, pred in grid.columns)]
    rule = ["---", *("---:" for _ in header[1:])]
    lines = [f"| {' | '.join(cells)} |" for cells in (header, rule, *grid.rows)]
    heading = _title(f"{title}: {DENSE_MEASURES[measure].title}", synthetic)
    return "\n".join([f"**{heading}**", "", *lines]) + "\n"


def measure_table(title: str, scores: Scores, synthetic: bool = False) -> Table:
    """Show every measure of one method, and of how many videos and samples."""
    columns = _columns([scores])
    rows = [[one.title, *_cells(scores, columns, key)] for key, one in DENSE_MEASURES.items()]
    table = _rich_table(_title(title, synthetic), _Grid(("measure",), columns, rows))
    counts = (f"obs {obs}: {n['num_videos']} x {n['num_samples']}" for obs, n in scores.items())
    table.caption = f"videos x samples: {', '.join(counts)}"
    return table


def _title(title: str, synthetic: bool) -> str:
    return f"{title}, synthetic features" if synthetic else title


def _method_grid(rows: Mapping[str, Scores], measure: str) -> _Grid:
    columns = _columns(list(rows.values()))
    lines = [
        [method, _num_samples(scores), *_cells(scores, columns, measure)]
        for method, scores in rows.items()
    ]
    return _Grid(("method", "samples"), columns, lines)


def _columns(documents: list[Scores]) -> list[tuple[str, str]]:
    pairs = {
        (obs, pred)
        for document in documents
        for obs, scores in document.items()
        for pred in scores["mean_moc"]
    }
    return sorted(pairs, key=lambda pair: (float(pair[0]), float(pair[1])))


def _cells(scores: Scores, columns: list[tuple[str, str]], measure: str) -> list[str]:
    values = [scores.get(obs, {}).get(measure, {}).get(pred) for obs, pred in columns]
    return [_number(value, DENSE_MEASURES[measure].decimals) for value in values]


def _number(value: float | None, decimals: int) -> str:
    # `value != value` is NaN: nothing to measure.
    return _ABSENT if value is None or value != value else f"{value:.{decimals}f}"


def _num_samples(scores: Scores) -> str:
    return ", ".join(str(n) for n in sorted({one["num_samples"] for one in scores.values()}))


def _rich_table(title: str, grid: _Grid) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in grid.lead:
        table.add_column(name, justify="left" if name == grid.lead[0] else "right")
    named: set[str] = set()
    for obs, pred in grid.columns:
        # The ratio is above its first column, as the group headings of the papers do.
        table.add_column(f"{'' if obs in named else f'obs {obs}'}\n{pred}", justify="right")
        named.add(obs)
    for row in grid.rows:
        table.add_row(*row)
    return table
