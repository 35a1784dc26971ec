"""Tables of scores in the papers' layout: a row per method, with published ones."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from anticipate.figures.noise import Series
from anticipate.lab.report import published
from anticipate.lab.report.cells import SPREAD, column, extent, number, summary
from anticipate.lab.report.grid import Grid
from anticipate.lab.report.published import Published
from anticipate.lab.report.run_groups import Group
from anticipate.lab.report.runs import Run
from anticipate.lab.studies import study_of
from anticipate.protocol.measures import DENSE_MEASURES, named_scores

NO_TABLE = ("efficiency/", "routing/", "seen/")
"""Starts of values that have tables of their own, or that only the files hold."""


class _Row(NamedTuple):
    method: str
    extent: str
    scores: dict[str, Series]


class _Layout(NamedTuple):
    stem: str
    title: str
    paths: list[str]
    known: list[Published]


def score_tables(group: Group) -> list[Grid]:
    """Compare the methods of a group by every score of its protocol.

    Published rows come below those of runs on real features, never below synthetic ones.
    """
    runs = _compared(group)
    rows = [_row(name, [run.values for run in some], some) for name, some in runs.items()]
    rows += _baseline_rows(runs)
    layouts = _dense_layouts(group) if group.kind == "dense" else _short_term_layout(group)
    return [
        _score_grid(f"{group.stem}_{stem}", f"{group.title}: {title}", paths, rows, known)
        for stem, title, paths, known in layouts
    ]


def _row(name: str, values: Sequence[dict[str, float]], runs: Sequence[Run]) -> _Row:
    paths = dict.fromkeys(path for scores in values for path in scores)
    table: dict[str, Series] = {
        path: {
            run.key: scores[path]
            for run, scores in zip(runs, values, strict=True)
            if path in scores
        }
        for path in paths
    }
    return _Row(name, extent(runs), table)


def _compared(group: Group) -> dict[str, list[Run]]:
    """Return the runs of no study, then one point of a study for each other method."""
    chosen: dict[str, list[Run]] = {}
    methods: set[str] = set()
    for name, runs in group.by_name().items():
        method = runs[0].method
        if study_of(name)[0] == "" or method not in methods:
            chosen[f"{method} ({name})"] = runs
            methods.add(method)
    return chosen


def _baseline_rows(runs: dict[str, list[Run]]) -> list[_Row]:
    """Return the baselines scored with the first method, whose predicted labels they continue."""
    first = next(iter(runs.values()))
    names = list(first[0].metrics["scores"])[1:]
    rows = []
    for name in names:
        with_name = [run for run in first if name in run.metrics["scores"]]
        values = [named_scores(run.metrics["scores"][name]) for run in with_name]
        rows.append(_row(name, values, with_name))
    return rows


def _dense_layouts(group: Group) -> list[_Layout]:
    known = [] if group.synthetic else published.dense(group.dataset)
    ratios = sorted({path.split("/")[0] for path in _paths(group) if "/mean_moc/" in path})
    layouts = []
    for measure, one in DENSE_MEASURES.items():
        horizons = sorted(
            {path.split("/")[2] for path in _paths(group) if f"/{measure}/" in path}, key=float
        )
        paths = [f"{obs}/{measure}/{pred}" for obs in ratios for pred in horizons]
        having = [row for row in known if any(path in row.values for path in paths)]
        layouts.append(_Layout(measure, one.title, paths, having))
    return layouts


def _short_term_layout(group: Group) -> list[_Layout]:
    known = [] if group.synthetic else published.rows(group.dataset)
    paths = [path for path in _paths(group) if not path.startswith(NO_TABLE)]
    return [_Layout("scores", "percent", paths, known)]


def _paths(group: Group) -> list[str]:
    return list(dict.fromkeys(path for run in group.runs for path in run.values))


def _score_grid(
    name: str, title: str, paths: list[str], rows: Iterable[_Row], known: list[Published]
) -> Grid:
    decimals = 3 if "diversity" in name else 1
    cells = [
        (row.method, row.extent, *(summary(row.scores.get(path), decimals) for path in paths))
        for row in rows
    ]
    cells += [
        (row.method, row.source, *(number(row.values.get(path), 1) for path in paths))
        for row in known
    ]
    columns = tuple(map(column, paths))
    lead, rule = ("method", "runs or source"), len(cells) - len(known) if known else 0
    return Grid(name, title, lead, columns, tuple(cells), SPREAD, rule)
