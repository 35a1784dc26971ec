"""Every published number as tables of its own."""

from anticipate.report import published
from anticipate.report.cells import column, number
from anticipate.report.grid import Column, Grid
from anticipate.report.published import Published
from anticipate.report.tables import MEASURES


def published_tables() -> list[Grid]:
    """Lay out every published number, each section as a table of its own."""
    tables = []
    for dataset in published.dense_datasets():
        rows = published.dense(dataset)
        for measure in ("mean_moc", "top1_moc"):
            paths = [f"{o}/{measure}/{p}" for o in published.RATIOS for p in published.HORIZONS]
            having = [row for row in rows if any(path in row.values for path in paths)]
            title = f"Published, {dataset}: {MEASURES[measure]}"
            tables.append(_published(f"{dataset}_{measure}", title, having, paths))
    for section, section_paths in published.PATHS.items():
        title = f"Published, {section.replace('_', ' ')} (%)"
        tables.append(
            _published(section, title, published.short_term(section), list(section_paths))
        )
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
        (row.method, row.source, *(f"{row.values[path]:g}" for path in published.EFFICIENCY))
        for row in published.efficiency()
    ]
    columns = tuple(Column("", name) for name in names)
    title = "Published costs: Breakfast, observation .3, horizon .5, one A100"
    return Grid("published_costs", title, ("method", "source"), columns, tuple(cells))
