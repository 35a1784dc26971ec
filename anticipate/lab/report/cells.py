"""Cells and headings that the tables of the report share."""

from collections.abc import Sequence

from anticipate.figures.noise import Series, summarize
from anticipate.lab.report.grid import Column
from anticipate.lab.report.runs import Run
from anticipate.protocol.measures import DENSE_MEASURES

ABSENT = "-"
COST_LABELS = {"efficiency/seconds_per_video": "Seconds per video"}
SPREAD = "mean ± standard deviation over splits (over seeds where there is one split)"


def number(value: float | None, decimals: int) -> str:
    """Write a number; a dash where there is none."""
    return ABSENT if value is None else f"{value:.{decimals}f}"


def summary(found: Series | None, decimals: int) -> str:
    """Write mean and spread of a score."""
    if not found:
        return ABSENT
    one = summarize(found)
    spread = "" if one.spread is None else f" ± {one.spread:.{decimals}f}"
    return f"{one.mean:.{decimals}f}{spread}"


def extent(runs: Sequence[Run]) -> str:
    """Write how many splits and seeds runs have."""
    counts = (len({run.key[part] for run in runs}) for part in (0, 1))
    texts = (
        f"{count} {word}{'s' if count > 1 else ''}"
        for count, word in zip(counts, ("split", "seed"), strict=True)
    )
    return ", ".join(texts)


def column(path: str) -> Column:
    """Return the heading of a score: its observation ratio or subset is above."""
    first, *rest = path.replace("_", " ").split("/")
    if is_ratio(first):
        return Column(f"obs {first}", rest[-1])
    return Column(" ".join([first, *rest[:-1]]), rest[-1]) if rest else Column("", first)


def main_column(path: str) -> Column:
    """Return the heading of a single score."""
    first, *rest = path.split("/")
    if is_ratio(first):
        return Column(f"obs {first}, horizon {rest[1]}", DENSE_MEASURES[rest[0]].title)
    return Column(first, " ".join(rest).replace("_", " "))


def panel_label(path: str) -> str:
    """Return the label of a score on the axis of a figure."""
    first, *rest = path.split("/")
    if path in COST_LABELS:
        return COST_LABELS[path]
    return DENSE_MEASURES[rest[0]].title if is_ratio(first) else " ".join([first, *rest, "(%)"])


def is_ratio(part: str) -> bool:
    """Tell whether the first part of a score's path is an observation ratio."""
    return part.replace(".", "").isdigit()
