"""The tables of the report: scores in the papers' layout, costs, studies, published numbers."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from anticipate.figures.noise import Series, summarize
from anticipate.lab.report import published
from anticipate.lab.report.grid import Column, Grid
from anticipate.lab.report.published import Published
from anticipate.lab.report.run_groups import Group, series
from anticipate.lab.report.runs import SHARE, Run, scores_of
from anticipate.lab.studies import Study, study_of
from anticipate.protocol.measures import DENSE_MEASURES, DENSE_TOP1

ABSENT = "-"
COST_LABELS = {"efficiency/seconds_per_video": "Seconds per video"}
SPREAD = "mean ± standard deviation over splits (over seeds where there is one split)"
ONE_FUTURE = "A dash: the method gives one future, whose Top-1 MoC is its Mean MoC."


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
    runs = compared(group)
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


def compared(group: Group) -> dict[str, list[Run]]:
    """Return the runs of no study, all systems, then one point of a study for each other method."""
    free = {"", *(study.name for study in group.studies() if study.systems)}
    chosen: dict[str, list[Run]] = {}
    methods: set[str] = set()
    for name, runs in group.by_name().items():
        method = runs[0].method
        if study_of(name)[0] in free or method not in methods:
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
        values = [scores_of(run.metrics["scores"][name]) for run in with_name]
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
    known = [] if group.synthetic or group.caveat else published.rows(group.dataset)
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
    note = f"{SPREAD}. {ONE_FUTURE}" if "top1_moc" in name else SPREAD
    return Grid(name, title, lead, columns, tuple(cells), note, rule)


COSTS = {
    "efficiency/parameters": (Column("", "parameters (M)"), 1e6, 3),
    "efficiency/peak_memory_bytes": (Column("", "peak memory (GB)"), 1e9, 2),
    "efficiency/seconds_per_video": (Column("", "seconds per video"), 1.0, 3),
    "efficiency/num_samples": (Column("", "samples"), 1.0, 0),
    "efficiency/cpu_seconds": (Column("", "training and test (CPU min)"), 60.0, 1),
}
"""Costs of a run: heading, divisor and decimals."""


def runs_table(groups: Sequence[Group]) -> Grid:
    """Show what was run, and on what."""
    rows = [
        (group.title, *_keys(group), str(group.root), _devices(group), str(len(group.runs)))
        for group in groups
    ]
    lead = ("data", "splits", "seeds", "folder", "machine")
    return Grid("runs", "Finished runs", lead, (Column("", "runs"),), tuple(rows))


def cost_table(group: Group) -> Grid:
    """Show what every setting of a group costs (MixANT Tab. 3 and 4, Fig. 10)."""
    rows = [
        (name, runs[0].method, *_cost_cells(runs), *_main_cells(group, runs))
        for name, runs in group.by_name().items()
    ]
    known = [] if group.synthetic else published.costs(group.dataset)
    rows += [(row.source, row.method, *_published_cost_cells(group, row)) for row in known]
    columns = (*(column for column, _, _ in COSTS.values()), *map(main_column, group.measures))
    note = f"Measured in the test, on: {_devices(group)}"
    return Grid(
        f"{group.stem}_costs",
        f"{group.title}: costs",
        ("run or source", "method"),
        columns,
        tuple(rows),
        f"{note}; published: seconds for 25 samples on one A100" if known else note,
        len(rows) - len(known) if known else 0,
    )


def _published_cost_cells(group: Group, row: Published) -> list[str]:
    *costs, score = (f"{row.values[name]:g}" for name in published.columns(published.EFFICIENCY))
    unknown = [ABSENT] * (len(COSTS) - len(costs))
    return [*costs, *unknown, *(score if path == DENSE_TOP1 else ABSENT for path in group.measures)]


def study_table(group: Group, study: Study) -> Grid:
    """Show the points of a study with their main scores and costs."""
    rows = [
        (
            point,
            extent(runs),
            *_main_cells(group, runs),
            *_cost_cells(runs),
            summary(series(runs, SHARE), 0),
        )
        for point, runs in group.points(study).items()
    ]
    columns = (
        *map(main_column, group.measures),
        *(column for column, _, _ in COSTS.values()),
        Column("", "most used expert (%)"),
    )
    title = f"{study.title}: {group.title}"
    lead = ("setting", "runs")
    return Grid(f"{group.stem}_{study.name}", title, lead, columns, tuple(rows), SPREAD)


def _main_cells(group: Group, runs: Sequence[Run]) -> list[str]:
    return [summary(series(runs, measure), 1) for measure in group.measures]


def _cost_cells(runs: Sequence[Run]) -> list[str]:
    return [
        number(summarize(found).mean / divisor, decimals)
        if (found := series(runs, path))
        else ABSENT
        for path, (_, divisor, decimals) in COSTS.items()
    ]


def _keys(group: Group) -> list[str]:
    return [", ".join(sorted({str(run.key[part]) for run in group.runs})) for part in (0, 1)]


def _devices(group: Group) -> str:
    costs = [run.metrics.get("efficiency") or {} for run in group.runs]
    return "; ".join(dict.fromkeys(str(cost.get("device", "unknown")) for cost in costs))


def published_tables() -> list[Grid]:
    """Lay out every published number, each section as a table of its own."""
    tables = []
    for dataset in published.dense_datasets():
        rows = published.dense(dataset)
        for measure in ("mean_moc", "top1_moc"):
            paths = published.dense_columns(measure)
            having = [row for row in rows if any(path in row.values for path in paths)]
            title = f"Published, {dataset}: {DENSE_MEASURES[measure].title}"
            tables.append(_published(f"{dataset}_{measure}", title, having, paths))
    for section in published.sections():
        title = f"Published, {section.replace('_', ' ')} (%)"
        rows = published.rows(section)
        tables.append(_published(section, title, rows, published.columns(section)))
    tables.append(_published_costs())
    return tables


def _published(name: str, title: str, rows: list[Published], paths: list[str]) -> Grid:
    cells = [
        (row.method, row.source, *(number(row.values.get(path), 1) for path in paths))
        for row in rows
    ]
    columns = tuple(map(column, paths))
    return Grid(f"published_{name}", title, ("method", "source"), columns, tuple(cells))


def _published_costs() -> Grid:
    names = ("parameters (M)", "memory (GB)", "seconds for 25 samples", "Top-1 MoC (%)")
    cells = [
        (
            row.method,
            row.source,
            *(f"{row.values[path]:g}" for path in published.columns(published.EFFICIENCY)),
        )
        for row in published.rows(published.EFFICIENCY)
    ]
    columns = tuple(Column("", name) for name in names)
    title = "Published costs: Breakfast, observation .3, horizon .5, one A100"
    return Grid("published_costs", title, ("method", "source"), columns, tuple(cells))
