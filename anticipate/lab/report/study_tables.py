"""Tables of what runs cost and of the points of a study."""

from collections.abc import Sequence

from anticipate.figures.noise import summarize
from anticipate.lab.report.cells import ABSENT, SPREAD, extent, main_column, number, summary
from anticipate.lab.report.grid import Column, Grid
from anticipate.lab.report.run_groups import Group, series
from anticipate.lab.report.runs import SHARE, Run
from anticipate.lab.studies import Study

COSTS = {
    "efficiency/parameters": (Column("", "parameters (M)"), 1e6, 3),
    "efficiency/peak_memory_bytes": (Column("", "peak memory (GB)"), 1e9, 2),
    "efficiency/seconds_per_video": (Column("", "seconds per video"), 1.0, 3),
    "efficiency/num_samples": (Column("", "samples"), 1.0, 0),
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
    columns = (*(column for column, _, _ in COSTS.values()), *map(main_column, group.measures))
    return Grid(
        f"{group.stem}_costs",
        f"{group.title}: costs",
        ("run", "method"),
        columns,
        tuple(rows),
        f"Measured in the test, on: {_devices(group)}",
    )


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
