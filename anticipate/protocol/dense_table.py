"""Tables in the layout of the papers: methods down, observation ratios and horizons across.

All functions take scores as `anticipate score --json` prints them: by written observation ratio a
document with `mean_moc`, `top1_moc`, `mof`, `frame_diversity` (each by written pred ratio),
`num_videos` and `num_samples`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from anticipate.protocol.measures import DENSE_MEASURES

Scores = Mapping[str, Mapping[str, Any]]
_ABSENT = "-"


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
    columns = _columns(rows.values())
    heading = _title(f"{title}: {DENSE_MEASURES[measure].title}", synthetic)
    table = _empty_table(heading, ("method", "samples"), columns)
    for method, scores in rows.items():
        samples = sorted({one["num_samples"] for one in scores.values()})
        table.add_row(method, ", ".join(map(str, samples)), *_cells(scores, columns, measure))
    return table


def measure_table(title: str, scores: Scores, synthetic: bool = False) -> Table:
    """Show every measure of one method, and of how many videos and samples."""
    columns = _columns([scores])
    table = _empty_table(_title(title, synthetic), ("measure",), columns)
    for measure, one in DENSE_MEASURES.items():
        table.add_row(one.title, *_cells(scores, columns, measure))
    counts = (f"obs {obs}: {n['num_videos']} x {n['num_samples']}" for obs, n in scores.items())
    table.caption = f"videos x samples: {', '.join(counts)}"
    return table


def _title(title: str, synthetic: bool) -> str:
    return f"{title}, synthetic features" if synthetic else title


def _columns(documents: Iterable[Scores]) -> list[tuple[str, str]]:
    pairs = {
        (obs, pred)
        for document in documents
        for obs, scores in document.items()
        for pred in scores["mean_moc"]
    }
    return sorted(pairs, key=lambda pair: (float(pair[0]), float(pair[1])))


def _empty_table(title: str, lead: Sequence[str], columns: Iterable[tuple[str, str]]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in lead:
        table.add_column(name, justify="left" if name == lead[0] else "right")
    named: set[str] = set()
    for obs, pred in columns:
        # The ratio is above its first column, as the group headings of the papers do.
        table.add_column(f"{'' if obs in named else f'obs {obs}'}\n{pred}", justify="right")
        named.add(obs)
    return table


def _cells(scores: Scores, columns: Iterable[tuple[str, str]], measure: str) -> list[str]:
    values = [scores.get(obs, {}).get(measure, {}).get(pred) for obs, pred in columns]
    return [_number(value, DENSE_MEASURES[measure].decimals) for value in values]


def _number(value: float | None, decimals: int) -> str:
    # `value != value` is NaN: nothing to measure.
    return _ABSENT if value is None or value != value else f"{value:.{decimals}f}"
