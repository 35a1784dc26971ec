"""What a benchmark measured, on which machine, as tables and as a document."""

import os
import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from anticipate.machine import cpu_name


def describe() -> dict[str, str | int]:
    """Return processor, threads that torch uses, versions, and how busy the machine is (1 min)."""
    return {
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
    }


if TYPE_CHECKING:
    from rich.table import Table

MIB = 2**20


class Row(NamedTuple):
    """One candidate of a comparison."""

    name: str
    seconds: float
    """Median over the rounds."""
    fastest: float
    """Seconds of the fastest round: what others on a busy machine disturbed least."""
    ratio: float
    """Median over the rounds of its time by that of the first candidate in the same round."""
    figures: dict[str, float]
    """More numbers, by what they are and their unit."""


class Group(NamedTuple):
    """Candidates that ran interleaved; the first one is what the others are compared with."""

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """What the reader must know, such as candidates that were left out and why."""


class Report(NamedTuple):
    """What one benchmark found."""

    groups: tuple[Group, ...]


def document(
    name: str, report: Report, machine: dict[str, str | int], quick: bool, repeats: int
) -> dict[str, Any]:
    """Return everything as one JSON document.

    Args:
        name: The benchmark.
        report: What it found.
        machine: What it ran on.
        quick: Whether sizes were tiny, so that the numbers mean nothing.
        repeats: Rounds that the medians are taken over.
    """
    groups = [
        {
            "title": group.title,
            "rows": [row._asdict() for row in group.rows],
            "notes": list(group.notes),
        }
        for group in report.groups
    ]
    return {
        "benchmark": name,
        "machine": machine,
        "quick": quick,
        "repeats": repeats,
        "groups": groups,
    }


def tables(report: Report) -> "Iterator[Table]":
    """Yield one table per group."""
    from rich import box
    from rich.table import Table

    for group in report.groups:
        figures = list(dict.fromkeys(name for row in group.rows for name in row.figures))
        table = Table(title=group.title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.min_width, table.title_justify = len(group.title), "left"
        table.caption, table.caption_justify = "\n".join(group.notes) or None, "left"
        for column in ("", "ms", "best ms", "ratio", *figures):
            table.add_column(column, justify="right" if column else "left")
        for row in group.rows:
            cells = (_number(row.figures[name]) if name in row.figures else "" for name in figures)
            times = (_number(1000 * row.seconds), _number(1000 * row.fastest))
            table.add_row(row.name, *times, f"{_number(row.ratio)} x", *cells)
        yield table


def _number(value: float) -> str:
    if value and not 0.001 <= abs(value) < 1e6:
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
