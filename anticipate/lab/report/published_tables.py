"""Every published number as tables of its own."""

from anticipate.lab.report import published
from anticipate.lab.report.cells import column, number
from anticipate.lab.report.grid import Column, Grid
from anticipate.lab.report.published import Published
from anticipate.protocol.measures import DENSE_MEASURES


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
