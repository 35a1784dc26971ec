"""The report as files: index.html, pictures as PNG and SVG, tables as CSV, Markdown and LaTeX."""

from pathlib import Path

from matplotlib.figure import Figure

from anticipate.figures.saved import read_usage
from anticipate.figures.study_figure import Panel, study_figure
from anticipate.figures.style import save_figure
from anticipate.figures.usage_figure import usage_figure
from anticipate.files import FIGURES
from anticipate.lab.report import grid, page
from anticipate.lab.report.cells import panel_label
from anticipate.lab.report.claims import claims_of, judge
from anticipate.lab.report.grid import Grid
from anticipate.lab.report.page import JudgedClaim, Section, Tile
from anticipate.lab.report.published_tables import published_tables
from anticipate.lab.report.report_figures import report_figures
from anticipate.lab.report.run_groups import Group, group_runs
from anticipate.lab.report.runs import Collection
from anticipate.lab.report.score_tables import score_tables
from anticipate.lab.report.study_tables import cost_table, runs_table, study_table
from anticipate.lab.studies import Study, studies

SYNTHETIC = (
    "Synthetic features: made from the labels, so these numbers say how the methods and settings "
    "compare, and nothing about real video. They are never in one table with real ones."
)
CAVEAT = (
    "Checkpoints of other data than those they are scored on, or of unknown data: the model may "
    "have been trained on what it is scored on here."
)
SECONDS = "efficiency/seconds_per_video"


class ReportWriter:
    """Writes a report into a folder that exists.

    Args:
        folder: Where it goes; files of an earlier report are replaced.
        collection: The runs it is about, and those that were left out.
    """

    def __init__(self, folder: Path, collection: Collection) -> None:
        self.folder, self.collection = folder, collection
        self.groups = group_runs(collection.runs)
        for name in ("figures", "tables"):
            (folder / name).mkdir(exist_ok=True)

    def write(self) -> Path:
        """Write every file and return the page."""
        judged = {group.stem: judge_claims(group) for group in self.groups}
        sections = [
            Section("runs", "What was run", page.card(self._table(runs_table(self.groups)))),
            Section("claims", "Claims", self._claims(judged)),
            *(self._group(group, judged[group.stem]) for group in self.groups),
            Section("published", "Published numbers", self._published()),
            Section("missing", "Studies without runs", page.missing_list(self._missing())),
            Section("skipped", "Run folders left out", self._skipped()),
        ]
        path = self.folder / "index.html"
        html = page.page("Action anticipation: report", LEDE, self._tiles(), sections)
        path.write_text(html)
        return path

    def _tiles(self) -> list[Tile]:
        found = {study.name for group in self.groups for study in group.studies()}
        runs = self.collection.runs
        synthetic = sum(bool(run.metrics["synthetic"]) for run in runs)
        return [
            Tile(str(len(runs) - synthetic), "runs on real features"),
            Tile(str(synthetic), "runs on synthetic features"),
            Tile(f"{len(found)} of {len(studies())}", "studies with runs"),
            Tile(str(len(self.collection.skipped)), "run folders left out"),
        ]

    def _claims(self, judged: dict[str, list[JudgedClaim]]) -> str:
        cards = []
        for group in self.groups:
            claims = judged[group.stem]
            if claims:
                title = f"Claims of the papers: {group.title}"
                grid.save(page.claims_grid(f"{group.stem}_claims", title, claims), self._tables)
                cards.append(page.card(page.heading(group.title), page.claims_table(claims)))
        return page.paragraph(page.CRITERION, "note") + "".join(cards)

    def _group(self, group: Group, judged: list[JudgedClaim]) -> Section:
        note = page.paragraph(SYNTHETIC, "warning") if group.synthetic else ""
        note += page.paragraph(CAVEAT, "warning") if group.caveat else ""
        note += page.paragraph(_parts(group), "warning") if _parts(group) else ""
        first, *others = [self._table(table) for table in score_tables(group)]
        scores = page.card(first, *others[:1], page.folded("more measures", "".join(others[1:])))
        if not others:
            scores = page.card(first)
        studies = "".join(self._study(group, study, judged) for study in group.studies())
        costs = page.card(self._table(cost_table(group)))
        html = note + scores + studies + costs + self._figures(group)
        return Section(group.stem, group.title, html)

    def _study(self, group: Group, study: Study, judged: list[JudgedClaim]) -> str:
        scores = group.scores(study)
        measures = [*group.measures, *([SECONDS] if study.timed else [])]
        panels = [Panel(panel_label(name), scores[name]) for name in measures if scores.get(name)]
        name = f"{group.stem}_{study.name}"
        figures = [self._usage(group, study)]
        if panels:
            setting = ", observation .3, horizon .5" if group.kind == "dense" else ""
            title, note = f"{study.title}{setting}", _figure_note(group)
            figure = study_figure(panels, study.axis, study.default, title, note)
            self._save(figure, name)
            figures.insert(0, page.figure(name, study.title))
        claims = [one for one in judged if one.study == study.name]
        verdicts = page.claims_table(claims) if claims else page.paragraph(NO_CLAIM, "note")
        table = page.folded("numbers", self._table(study_table(group, study)))
        head = page.heading(study.title, study.source)
        return page.card(head, *figures, verdicts, table)

    def _usage(self, group: Group, study: Study) -> str:
        """Draw the use of experts at some points of a study."""
        figures = []
        for point, runs in group.points(study).items():
            usage = read_usage(runs[0].folder / FIGURES)
            if point in study.usage and usage is not None:
                title = f"Expert usage in the test (%), {study.axis}: {point}"
                name = f"{group.stem}_{study.name}_usage_{point}"
                self._save(usage_figure(usage, title, _figure_note(group)), name)
                figures.append(page.figure(name, title))
        return page.side_by_side(figures)

    def _figures(self, group: Group) -> str:
        """Show every kind of figure that the runs of a group have."""
        cards = []
        for kind in report_figures():
            figures = kind.draw(group)
            for name, figure in figures.items():
                self._save(figure, name)
            shown = [page.figure(name, kind.title) for name in figures]
            cards += [page.card(page.heading(kind.title, kind.source), *shown)] if shown else []
        return "".join(cards)

    def _published(self) -> str:
        tables = "".join(self._table(table) for table in published_tables())
        return page.card(page.folded("show all tables", tables))

    def _missing(self) -> list[str]:
        found = {study.name for group in self.groups for study in group.studies()}
        return [
            f"{study.name}: {study.title}" + (f" ({study.source})" if study.source else "")
            for study in studies()
            if study.name not in found
        ]

    def _skipped(self) -> str:
        if not self.collection.skipped:
            return page.paragraph("None.")
        return page.card(page.skipped_table(self.collection.skipped, Path.cwd()))

    @property
    def _tables(self) -> Path:
        return self.folder / "tables"

    def _table(self, table: Grid) -> str:
        grid.save(table, self._tables)
        return page.table(table)

    def _save(self, figure: Figure, name: str) -> None:
        save_figure(figure, self.folder / "figures", name)


LEDE = (
    "Results of finished runs: scores next to published ones, the studies of the papers with their "
    "claims, costs, and sampled futures."
)
NO_CLAIM = "The papers print no claim about this setting."


def judge_claims(group: Group) -> list[JudgedClaim]:
    """Check every claim about the studies of a group."""
    return [
        JudgedClaim(study.name, claim, judge(claim, scores))
        for study in group.studies()
        for scores in (group.scores(study),)
        for claim in claims_of(study)
    ]


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


def _figure_note(group: Group) -> str:
    return "synthetic features" if group.synthetic else ""
