"""A table as cells, and how it is written: CSV, Markdown and LaTeX."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

LATEX_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
}
LONGEST_NAME = 40
"""Words of more characters are a sentence, which LaTeX breaks into lines."""


class Column(NamedTuple):
    """Heading of a column; neighbours of one group share a heading above theirs."""

    group: str
    name: str


class Grid(NamedTuple):
    """A table."""

    name: str
    """Stem of its files."""
    title: str
    lead: tuple[str, ...]
    """Headings of the first columns, which hold words."""
    columns: tuple[Column, ...]
    """Headings of the columns that hold numbers."""
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    rule: int = 0
    """Rows above a rule that sets the others apart; 0 for no rule."""

    @property
    def header(self) -> list[str]:
        """One heading per column, with its group."""
        return [*self.lead, *(" ".join(filter(None, column)) for column in self.columns)]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Heading above the columns with numbers, and how many columns each spans."""
        runs = groupby(self.columns, key=lambda column: column.group)
        return [(group, len(list(columns))) for group, columns in runs]


def to_csv(grid: Grid) -> str:
    """Write a table as CSV, its title and note left out."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([grid.header, *grid.rows])
    return text.getvalue()


def to_markdown(grid: Grid) -> str:
    """Write a table as Markdown, between its title and its note."""
    note = ["", grid.note] if grid.note else []
    lines = markdown_lines(grid.header, grid.rows, len(grid.lead))
    return "\n".join([f"**{grid.title}**", "", *lines, *note]) + "\n"


def markdown_lines(header: Sequence[str], rows: Iterable[Sequence[str]], lead: int) -> list[str]:
    """Return the lines of a table in Markdown.

    Args:
        header: Headings.
        rows: Cells.
        lead: How many of the first columns hold words.
    """
    rules = ["---"] * lead + ["---:"] * (len(header) - lead)
    cells = [header, rules, *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in cells]


def to_latex(grid: Grid) -> str:
    """Write a table as LaTeX with booktabs."""
    above, rules, start = ["" for _ in grid.lead], [], len(grid.lead) + 1
    for group, width in grid.groups:
        above.append(rf"\multicolumn{{{width}}}{{c}}{{{_latex(group)}}}" if group else "")
        above.extend([] if group else [""] * (width - 1))
        if group:
            rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    names = [*grid.lead, *(column.name for column in grid.columns)]
    head = [" & ".join(above) + r" \\", " ".join(rules)] if rules else []
    body = [" & ".join(map(_latex, row)) + r" \\" for row in grid.rows]
    if grid.rule:
        body.insert(grid.rule, r"\midrule")
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(' '.join(filter(None, (grid.title, grid.note))))}}}",
        rf"\begin{{tabular}}{{{_layout(grid)}}}",
        r"\toprule",
        *head,
        " & ".join(map(_latex, names)) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


WRITERS: dict[str, Callable[[Grid], str]] = {"csv": to_csv, "md": to_markdown, "tex": to_latex}
"""How a table is written, by the ending of its file."""


def save(grid: Grid, folder: Path) -> None:
    """Write a table into a folder, in every format of `WRITERS`."""
    for ending, write in WRITERS.items():
        (folder / f"{grid.name}.{ending}").write_text(write(grid))


def _layout(grid: Grid) -> str:
    """Return how LaTeX sets the columns: those with sentences share the width of a line."""
    sentences = [
        any(len(row[place]) > LONGEST_NAME for row in grid.rows) for place in range(len(grid.lead))
    ]
    share = f"p{{{0.8 / max(sum(sentences), 1):.2f}\\linewidth}}"
    return "".join(share if long else "l" for long in sentences) + "r" * len(grid.columns)


def _latex(text: str) -> str:
    return "".join(LATEX_SPECIAL.get(character, character) for character in text)
