"""The report as files: index.html, pictures as PNG and SVG, tables as CSV, Markdown and LaTeX.

The page needs no network and no other file: its style and pictures are in it. `page.html` says how
it looks; here is what it shows.
"""

import base64
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, Template
from markupsafe import Markup
from matplotlib.figure import Figure

from anticipate.figures.saved import read_usage
from anticipate.figures.study_figure import Panel, study_figure
from anticipate.figures.style import save_figure
from anticipate.figures.usage_figure import usage_figure
from anticipate.files import FIGURES
from anticipate.lab.report.claims import Verdict
from anticipate.lab.report.grid import Grid, save
from anticipate.lab.report.judged_claims import JudgedClaim, judge_claims
from anticipate.lab.report.report_figures import ReportFigure, report_figures
from anticipate.lab.report.report_tables import (
    ABSENT,
    cost_table,
    panel_label,
    published_tables,
    runs_table,
    score_tables,
    study_table,
)
from anticipate.lab.report.run_groups import Group, group_runs
from anticipate.lab.report.runs import Collection
from anticipate.lab.studies import Study, studies

SYNTHETIC = (
    "Synthetic features: made from the labels, so these numbers say how the methods and settings "
    "compare, and nothing about real video. They are never in one table with real ones."
)
CAVEAT = (
    "Checkpoints of other data than those they are scored on, or of unknown data: the model may "
    "have been trained on what it is scored on here."
)
CRITERION = (
    "A claim holds (yes) when every difference that it needs is clear of its 95 % interval "
    "(Student's t over pairs of runs of one split and seed), fails (no) when one is clear of it "
    "the other way round, and is not decidable in between. Where one of many differences is "
    "enough, each must be clearer (Bonferroni's correction). With one common run the noise is "
    "unknown: then only the direction is reported, and it may be due to chance. So many seeds "
    "would decide a claim as show a difference as large as measured with a probability of 80 %."
)
CLAIM_COLUMNS = {
    "claim of the paper": "claim",
    "shown in": "source",
    "paper": "published",
    "measured": "measured",
    "verdict": "verdict",
    "what would decide it": "decides",
}
"""Columns of the table of claims, and what of a judged claim they show."""
VERDICT_CLASS = {
    Verdict.YES: "yes solid",
    Verdict.NO: "no solid",
    Verdict.UNDECIDED: "open solid",
    Verdict.AGREES: "yes",
    Verdict.DISAGREES: "no",
    Verdict.MISSING: "missing",
}
"""How a verdict looks: filled where it is one, an outline where it only points somewhere."""
SECONDS = "efficiency/seconds_per_video"


class StudyPart(NamedTuple):
    """What the page shows of a study of a group."""

    study: Study
    picture: str
    """Stem of the figure of its scores; empty where there is none."""
    usage: dict[str, str]
    """Titles of the figures of its use of experts by their stem."""
    numbers: Grid


class FigurePart(NamedTuple):
    """What the page shows of a kind of figure."""

    kind: ReportFigure
    pictures: list[str]
    """Stems of its figures."""
    caption: str
    tables: Sequence[Grid]


class GroupPart(NamedTuple):
    """What the page shows of a group of comparable runs."""

    group: Group
    warnings: list[str]
    claims: list[JudgedClaim]
    scores: list[Grid]
    studies: list[StudyPart]
    costs: Grid
    figures: list[FigurePart]
    """The kinds of figures that the runs have."""


class LabelPart(NamedTuple):
    """What the page shows of studies that need labels alone."""

    pictures: Mapping[str, Path]
    """Title and PNG of each figure; the SVG lies next to it."""
    tables: Sequence[Grid]


def write_report(folder: Path, collection: Collection, labels: LabelPart | None = None) -> Path:
    """Write every file of a report and return the page.

    Args:
        folder: Where it goes; files of an earlier report are replaced.
        collection: The runs it is about, and those that were left out.
        labels: Studies of labels to show after the runs.
    """
    pictures = folder / "figures"
    for place in (pictures, folder / "tables"):
        place.mkdir(parents=True, exist_ok=True)
    groups = group_runs(collection.runs)
    parts = [_group_part(group, pictures) for group in groups]
    runs, published = runs_table(groups), published_tables()
    shown = labels or LabelPart({}, ())
    grids = [*published, *(grid for part in parts for grid in _grids(part)), *shown.tables]
    for grid in (runs, *grids):
        save(grid, folder / "tables")
    for file in (p for png in shown.pictures.values() for p in (png, png.with_suffix(".svg"))):
        shutil.copy(file, pictures)
    found = {study.name for group in groups for study in group.studies()}
    synthetic = sum(bool(run.metrics["synthetic"]) for run in collection.runs)
    path = folder / "index.html"
    path.write_text(
        template().render(
            style=Markup(_resource("page.css")),
            embedded=lambda stem: _data_uri(pictures / f"{stem}.png"),
            labels=labels,
            tiles=[
                (len(collection.runs) - synthetic, "runs on real features"),
                (synthetic, "runs on synthetic features"),
                (f"{len(found)} of {len(studies())}", "studies with runs"),
                (len(collection.skipped), "run folders left out"),
            ],
            runs=runs,
            parts=parts,
            published=published,
            missing=[study for study in studies() if study.name not in found],
            skipped=[(_relative(folder), reason) for folder, reason in collection.skipped],
        )
    )
    return path


def template() -> Template:
    """Return `page.html` with what does not depend on runs."""
    page = Environment(autoescape=True).from_string(_resource("page.html"))
    page.globals.update(
        criterion=CRITERION, absent=ABSENT, claim_columns=CLAIM_COLUMNS, verdict_class=VERDICT_CLASS
    )
    return page


def _group_part(group: Group, pictures: Path) -> GroupPart:
    figures = []
    for kind in report_figures():
        stems = _save_all(kind.draw(group), pictures)
        if stems:
            figures.append(FigurePart(kind, stems, kind.caption(group), kind.tables(group)))
    warnings = [SYNTHETIC if group.synthetic else "", CAVEAT if group.caveat else "", _parts(group)]
    return GroupPart(
        group,
        [warning for warning in warnings if warning],
        judge_claims(group),
        score_tables(group),
        [_study_part(group, study, pictures) for study in group.studies()],
        cost_table(group),
        figures,
    )


def _study_part(group: Group, study: Study, pictures: Path) -> StudyPart:
    scores, stem = group.scores(study), f"{group.stem}_{study.name}"
    measures = [*group.measures, *([SECONDS] if study.timed else [])]
    panels = [Panel(panel_label(name), scores[name]) for name in measures if scores.get(name)]
    note = "synthetic features" if group.synthetic else ""
    if panels:
        setting = ", observation .3, horizon .5" if group.kind == "dense" else ""
        title = f"{study.title}{setting}"
        figure = study_figure(panels, study.axis, study.default, title, note)
        save_figure(figure, pictures, stem)
    usage = {}
    for point, runs in group.points(study).items():
        shares = read_usage(runs[0].folder / FIGURES)
        if point in study.usage and shares is not None:
            title, name = (
                f"Expert usage in the test (%), {study.axis}: {point}",
                f"{stem}_usage_{point}",
            )
            save_figure(usage_figure(shares, title, note), pictures, name)
            usage[name] = title
    return StudyPart(study, stem if panels else "", usage, study_table(group, study))


def _save_all(figures: Mapping[str, Figure], folder: Path) -> list[str]:
    for stem, figure in figures.items():
        save_figure(figure, folder, stem)
    return list(figures)


def _grids(part: GroupPart) -> Iterator[Grid]:
    """Yield the tables of a group that are written as files."""
    yield from (*part.scores, part.costs, *(study.numbers for study in part.studies))
    yield from (grid for figure in part.figures for grid in figure.tables)
    rows = tuple(
        tuple(getattr(one, name) or ABSENT for name in CLAIM_COLUMNS.values())
        for one in part.claims
    )
    if rows:
        title = f"Claims of the papers: {part.group.title}"
        yield Grid(f"{part.group.stem}_claims", title, tuple(CLAIM_COLUMNS), (), rows, CRITERION)


def _parts(group: Group) -> str:
    """Name the runs that were scored on a part of the test data; return nothing for none."""
    parts: dict[str, dict[str, None]] = {}
    for run in group.runs:
        if run.metrics.get("scored_part"):
            parts.setdefault(run.metrics["scored_part"], {})[run.name] = None
    named = "; ".join(f"{part} ({', '.join(names)})" for part, names in parts.items())
    return (
        f"Scored on a part of the test data, not by the whole protocol: {named}." if named else ""
    )


def _relative(folder: Path) -> Path:
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _data_uri(picture: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"


def _resource(name: str) -> str:
    return files("anticipate.lab.report").joinpath(name).read_text()
