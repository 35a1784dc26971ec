"""Published numbers, read from `published.yaml`, under the paths that scores of runs have."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

from anticipate.figures.noise import Series

EFFICIENCY = "efficiency"
"""Section of what methods cost: millions of parameters, GB, seconds and percent."""


class Published(NamedTuple):
    """What a publication prints about one method."""

    source: str
    method: str
    values: dict[str, float]
    """Numbers by their path."""


def dense(dataset: str) -> list[Published]:
    """Return the published rows of a dense data set; Mean and Top-1 MoC of a method are one row."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for row in _content()["dense"]["rows"]:
        if row["dataset"] == dataset:
            values = rows.setdefault((row["source"], row["method"]), {})
            values.update(_values(dense_columns(row["measure"]), row["values"]))
    return [Published(*key, values) for key, values in rows.items()]


def dense_columns(measure: str) -> list[str]:
    """Return the paths of a measure at the published observations and horizons."""
    section = _content()["dense"]
    return [f"{o}/{measure}/{h}" for o in section["observed"] for h in section["horizons"]]


def dense_datasets() -> list[str]:
    """Return the dense data sets with published rows."""
    return list(dict.fromkeys(row["dataset"] for row in _content()["dense"]["rows"]))


def sections() -> list[str]:
    """Return the sections of short-term data sets."""
    return [name for name in _content() if name not in ("dense", EFFICIENCY)]


def columns(section: str) -> list[str]:
    """Return the paths of the columns of a section."""
    return list(_content()[section]["columns"])


def rows(section: str) -> list[Published]:
    """Return the rows of a section; none where nothing is published."""
    return [
        Published(row["source"], row["method"], _values(columns(section), row["values"]))
        for row in _content().get(section, {"rows": ()})["rows"]
    ]


def costs(dataset: str) -> list[Published]:
    """Return the published costs on a data set; none where nothing is published."""
    return rows(EFFICIENCY) if _content()[EFFICIENCY]["dataset"] == dataset else []


def scores(dataset: str, source: str, methods: Mapping[str, str]) -> dict[str, dict[str, Series]]:
    """Return published scores and costs by path and point, as those of one run of each point.

    Args:
        dataset: That they are of.
        source: Where they are printed; several are separated by commas.
        methods: What each point is called there.
    """
    found = [*dense(dataset), *costs(dataset), *rows(dataset), *rows(f"{dataset}_testra")]
    named: dict[str, dict[str, float]] = {}
    for row in found:
        if row.source in source.split(", "):
            named.setdefault(row.method, {}).update(row.values)
    known = {point: named[method] for point, method in methods.items() if method in named}
    paths = dict.fromkeys(path for values in known.values() for path in values)
    return {
        path: {point: {("", 0): values[path]} for point, values in known.items() if path in values}
        for path in paths
    }


def _values(paths: Sequence[str], values: Sequence[float | str]) -> dict[str, float]:
    pairs = zip(paths, values, strict=True)
    return {path: float(value) for path, value in pairs if value != "-"}


@cache
def _content() -> dict[str, Any]:
    text = files("anticipate.lab.report").joinpath("published.yaml").read_text()
    content: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)
    return content
