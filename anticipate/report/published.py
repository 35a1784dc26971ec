"""Published numbers, read from `published.yaml`, under the paths that scores of runs have."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

RATIOS = ("0.2", "0.3")
HORIZONS = ("0.1", "0.2", "0.3", "0.5")
SUBSETS = ("overall", "unseen", "tail")
TASKS = ("verb", "noun", "action")

PATHS = {
    "ek100": tuple(f"{subset}/{task}" for subset in SUBSETS for task in TASKS),
    "ek100_test": tuple(f"overall/{task}" for task in TASKS),
    "ek55": tuple(f"overall/action/{name}" for name in ("top1", "top5", "many_shot_recall")),
    "egtea": tuple(f"overall/action/{name}" for name in ("top1", "top1_recall")),
}
"""Scores in the rows of each short-term section."""

EFFICIENCY = ("parameters", "memory", "seconds", "top1_moc")
"""What the rows of the efficiency section hold: millions, GB, seconds and percent."""


class Published(NamedTuple):
    """What a publication prints about one method."""

    source: str
    method: str
    values: dict[str, float]
    """Numbers by their path."""


def dense(dataset: str) -> list[Published]:
    """Return the published rows of a dense data set; Mean and Top-1 MoC of a method are one row."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for row in _content()["dense"]:
        if row["dataset"] == dataset:
            paths = [f"{obs}/{row['measure']}/{pred}" for obs in RATIOS for pred in HORIZONS]
            values = rows.setdefault((row["source"], row["method"]), {})
            values.update(_values(paths, row["values"]))
    return [Published(*key, values) for key, values in rows.items()]


def dense_datasets() -> list[str]:
    """Return the dense data sets with published rows."""
    return list(dict.fromkeys(row["dataset"] for row in _content()["dense"]))


def short_term(section: str) -> list[Published]:
    """Return the rows of a section of `PATHS`; none where nothing is published."""
    return _rows(section, PATHS[section]) if section in PATHS else []


def efficiency() -> list[Published]:
    """Return what methods cost, under the names of `EFFICIENCY`."""
    return _rows("efficiency", EFFICIENCY)


def _rows(section: str, paths: Sequence[str]) -> list[Published]:
    return [
        Published(row["source"], row["method"], _values(paths, row["values"]))
        for row in _content()[section]
    ]


def _values(paths: Sequence[str], values: Sequence[float | str]) -> dict[str, float]:
    pairs = zip(paths, values, strict=True)
    return {path: float(value) for path, value in pairs if value != "-"}


@cache
def _content() -> dict[str, Any]:
    text = files("anticipate.report").joinpath("published.yaml").read_text()
    content: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)
    return content
