"""The report as one HTML page that needs no network: inline style, pictures next to it."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from anticipate.lab.report.claims import Claim, Finding, Verdict
from anticipate.lab.report.grid import Grid, to_html
from anticipate.lab.report.runs import Skipped

VERDICT_CLASS = {
    Verdict.YES: "yes solid",
    Verdict.NO: "no solid",
    Verdict.UNDECIDED: "open solid",
    Verdict.AGREES: "yes",
    Verdict.DISAGREES: "no",
    Verdict.MISSING: "missing",
}
"""How a verdict looks: filled where it is one, an outline where it only points somewhere."""

CRITERION = (
    "A claim holds (yes) when the difference of means is clear of the 95 % interval of the noise, "
    "fails (no) when it is clear of it the other way round, and is not decidable in between. The "
    "noise is what splits and settings leave unexplained. With one run per setting it is unknown: "
    "then only the direction is reported, and it may be due to chance."
)


class JudgedClaim(NamedTuple):
    """A claim about a study and what runs say."""

    study: str
    claim: Claim
    finding: Finding


class Tile(NamedTuple):
    """A number of the overview."""

    value: str
    label: str


class Section(NamedTuple):
    """A part of the page: a title, and HTML below it."""

    anchor: str
    title: str
    html: str


def page(title: str, lede: str, tiles: Sequence[Tile], sections: Sequence[Section]) -> str:
    """Put the page together.

    Args:
        title: Its heading.
        lede: What it shows, in a sentence or two.
        tiles: Numbers under the heading.
        sections: Everything else, in order.
    """
    style = files("anticipate.lab.report").joinpath("page.css").read_text()
    links = "".join(f'<a href="#{s.anchor}">{escape(s.title)}</a>' for s in sections)
    numbers = "".join(
        f'<div class="tile"><b>{escape(tile.value)}</b><span>{escape(tile.label)}</span></div>'
        for tile in tiles
    )
    body = "".join(
        f'<h2 id="{s.anchor}">{escape(s.title)}</h2>\n{s.html}\n' for s in sections if s.html
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style></head>\n"
        f'<body><main><h1>{escape(title)}</h1><p class="lede">{escape(lede)}</p>\n'
        f'<div class="tiles">{numbers}</div>\n<nav>{links}</nav>\n{body}</main></body></html>\n'
    )


def card(*parts: str) -> str:
    """Frame what belongs together."""
    return f'<section class="card">{"".join(parts)}</section>'


def paragraph(text: str, kind: str = "") -> str:
    """Write a paragraph of plain text; `kind` is a class of the style sheet."""
    return f'<p class="{kind}">{escape(text)}</p>'


def heading(text: str, source: str = "") -> str:
    """Write the heading of a card and where the papers show it."""
    where = f' <span class="source">{escape(source)}</span>' if source else ""
    return f"<h3>{escape(text)}{where}</h3>"


def figure(name: str, alt: str) -> str:
    """Show `figures/<name>.png`, with a link to the SVG."""
    path = f"figures/{escape(name)}"
    return (
        f'<figure class="picture"><a href="{path}.svg"><img src="{path}.png" alt="{escape(alt)}">'
        "</a></figure>"
    )


def side_by_side(figures: Sequence[str]) -> str:
    """Show figures in one row where there is room."""
    return f'<div class="pair">{"".join(figures)}</div>' if figures else ""


def table(grid: Grid) -> str:
    """Show a table and link to its files."""
    links = ", ".join(
        f'<a href="tables/{escape(grid.name)}.{ending}">{name}</a>'
        for ending, name in (("csv", "CSV"), ("md", "Markdown"), ("tex", "LaTeX"))
    )
    return f'{to_html(grid)}<p class="note">{links}</p>'


def folded(summary: str, html: str) -> str:
    """Hide what few readers need behind a line."""
    return f"<details><summary>{escape(summary)}</summary>{html}</details>"


def claims_table(judged: Sequence[JudgedClaim]) -> str:
    """List claims with their verdicts."""
    rows = "".join(
        f'<tr><td class="word wrap">{escape(claim.text)}</td>'
        f'<td class="word">{escape(claim.source)}</td>'
        f'<td class="word">{_badge(finding.verdict)}</td>'
        f'<td class="word wrap">{escape(finding.measured)}</td></tr>'
        for _, claim, finding in judged
    )
    heads = "".join(f'<th class="word">{name}</th>' for name in CLAIM_COLUMNS)
    return (
        f'<div class="scroll"><table class="claims"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


CLAIM_COLUMNS = ("claim of the paper", "shown in", "verdict", "measured")


def claims_grid(name: str, title: str, judged: Iterable[JudgedClaim]) -> Grid:
    """Lay the claims out as a table for files."""
    rows = tuple(
        (claim.text, claim.source, finding.verdict.value, finding.measured)
        for _, claim, finding in judged
    )
    return Grid(name, title, CLAIM_COLUMNS, (), rows, CRITERION)


def missing_list(names: Sequence[str]) -> str:
    """List the studies without any run."""
    items = "".join(f"<li>{escape(name)}</li>" for name in names)
    return f"<ul>{items}</ul>" if names else paragraph("None: every study has runs.")


def skipped_table(skipped: Sequence[Skipped], base: Path) -> str:
    """List the run folders that were left out, and why."""
    rows = "".join(
        f'<tr><td class="word"><code>{escape(_relative(folder, base))}</code></td>'
        f'<td class="word wrap">{escape(reason)}</td></tr>'
        for folder, reason in skipped
    )
    head = '<tr><th class="word">run folder</th><th class="word">reason</th></tr>'
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _relative(folder: Path, base: Path) -> str:
    return str(folder.relative_to(base)) if folder.is_relative_to(base) else str(folder)


def _badge(verdict: Verdict) -> str:
    return f'<span class="badge {VERDICT_CLASS[verdict]}">{escape(verdict)}</span>'
