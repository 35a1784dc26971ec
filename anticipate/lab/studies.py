"""Studies: experiments that differ in one setting or system, as their `study.yaml` describes them.

A study is a folder below `experiments` with a file for each point and a `study.yaml`: title, task,
parent, data, source, axis, points in the order of the axis, default point and the claims of the
paper. Where its points are `systems`, each may extend a recipe of its own, on the same data.
Nothing else knows which studies there are.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from anticipate.catalog import class_at
from anticipate.console import notice
from anticipate.errors import ConfigError
from anticipate.protocol.measures import EVERYWHERE, MAIN_MEASURES, is_measure
from anticipate.training.settings import (
    RECIPES,
    Settings,
    beside,
    current_path,
    read_yaml,
    run_name,
)

STUDY_FILE = "study.yaml"
ABLATIONS = Path("experiments/ablations")
"""Folder of the studies of the papers."""

KEYS = {
    **dict.fromkeys(("title", "parent", "data", "source", "axis", "default"), str),
    **{"task": str, "points": list, "claims": list, "timed": bool, "usage": list},
    **{"systems": bool, "methods": dict},
}
"""What a study.yaml may hold, and of which type."""
OPTIONAL = {
    "source": "",
    "claims": [],
    "timed": False,
    "usage": [],
    "systems": False,
    "methods": {},
}
TASKS = ("dense", "short_term")
CRITERIA = {"higher": 2, "best": 1, "inside": 0, "everywhere": 2, "flat": None}
"""What a claim may say, and of how many points; `flat` of any number."""


OPTIONS = ("factor", "measure", "but", "published")
"""What a claim may say besides."""


class Study(NamedTuple):
    """Runs that differ in one setting."""

    name: str
    """First part of its run names: its folder below `experiments`, without `ablations`."""
    folder: Path
    title: str
    task: Literal["dense", "short_term"]
    parent: Path
    """The complete model, which every point extends; systems may have recipes of their own."""
    data: str
    """Name of the data set."""
    axis: str
    """What the settings are, for the axis of figures."""
    points: tuple[str, ...]
    """Its settings in the order of the axis: the files of the folder, without their ending."""
    default: str
    """The setting of the complete model."""
    source: str
    """Where the papers show it; empty where they do not."""
    claims: tuple[Mapping[str, Any], ...]
    """What the papers say about it; `anticipate.lab.report.claims` reads them."""
    timed: bool
    """Whether the papers print its times, so that figures show them."""
    usage: tuple[str, ...]
    """Points whose use of experts is drawn."""
    systems: bool
    """Whether its points are systems with recipes of their own, each a row of the main tables."""
    methods: Mapping[str, str]
    """Names of points in `lab/report/published.yaml`, from which the figures of its claims are."""


def studies() -> tuple[Study, ...]:
    """Return all studies below `experiments` of the current folder and of the package.

    Dense ones come first, each task in the order in which the papers show them. Those that cannot
    be used are left out, with a notice.
    """
    return _studies(Path.cwd())[0]


def broken_studies() -> Mapping[str, ConfigError]:
    """Return why studies are left out, by their names."""
    return _studies(Path.cwd())[1]


def study_of(name: str) -> tuple[str, str]:
    """Return study and point of a run name; the study is empty where the run is of none."""
    for study in studies():
        if name.startswith(f"{study.name}/"):
            return study.name, name.removeprefix(f"{study.name}/")
    return "", name


def read_study(path: Path) -> Study:
    """Read a study.yaml.

    Raises:
        ConfigError: It is not YAML, a key is missing, unknown or of another type, a point has no
            file, or a claim lacks something or names an unknown measure or point.
    """
    content = {**OPTIONAL, **_content(path)}
    _check(path, content)
    points = tuple(map(str, content["points"]))
    for point in (*points, content["default"]):
        if point not in points or not (path.parent / f"{point}.yaml").is_file():
            raise ConfigError(f"{path}: no file {point}.yaml next to it, or no such point listed")
    for point in content["methods"]:
        if point not in points:
            raise ConfigError(f"{path}: methods names {point!r}, expected {', '.join(points)}")
    for claim in content["claims"]:
        _check_claim(f"{path}: claim '{claim.get('text')}'", claim, points, content["task"])
    return Study(
        name=_name(path),
        folder=path.parent,
        **{
            **content,
            "parent": beside(path, content["parent"]).resolve(),
            "points": points,
            "claims": tuple(content["claims"]),
            "usage": tuple(map(str, content["usage"])),
        },
    )


def check_parent(study: Study, settings: Settings) -> None:
    """Compare a study with its parent.

    Args:
        study: The study.
        settings: Those of its parent.

    Raises:
        ConfigError: The parent is of other data or of the other task.
    """
    from anticipate.datasets import (  # here: Lightning takes seconds to import
        DenseDataModule,
        ShortTermDataModule,
    )

    data_set: Any = class_at(current_path(settings["data.class_path"]))
    measures = DenseDataModule if study.task == "dense" else ShortTermDataModule
    for key, fits in {
        "data": data_set.dataset == study.data,
        "task": issubclass(data_set, measures),
    }.items():
        if not fits:
            raise ConfigError(
                f"{study.folder / STUDY_FILE}: {key} is {getattr(study, key)}, but the data of its "
                f"parent {study.parent.name} are {data_set.__name__}"
            )


def in_order(study: Study, found: Iterable[str]) -> list[str]:
    """Return the points that were found: the known ones as they are listed, then the others."""
    found = set(found)
    known = [point for point in study.points if point in found]
    return known + sorted(found - set(known), key=_natural)


def _name(path: Path) -> str:
    return run_name(path.parent / "_").rpartition("/")[0]


def _content(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no keys and values, expected {', '.join(KEYS)}")
    return content


def _check(path: Path, content: Mapping[str, Any]) -> None:
    for key in sorted(content.keys() ^ KEYS.keys()):
        what = "unknown key" if key in content else "no key"
        raise ConfigError(f"{path}: {what} '{key}'; expected {', '.join(KEYS)}")
    for key, kind in KEYS.items():
        if not isinstance(content[key], kind):
            raise ConfigError(
                f"{path}: {key} is {content[key]!r}, expected {kind.__name__} (quote numbers)"
            )
    if not beside(path, content["parent"]).is_file():
        raise ConfigError(f"{path}: no file {content['parent']}, which it names as its parent")
    if not all(isinstance(claim, Mapping) for claim in content["claims"]):
        raise ConfigError(
            f"{path}: a claim is plain text, expected keys and values: source, text and a criterion"
        )
    if content["task"] not in TASKS:
        raise ConfigError(f"{path}: task is '{content['task']}', expected {' or '.join(TASKS)}")


def _check_claim(where: str, claim: Mapping[str, Any], points: Sequence[str], task: str) -> None:
    kinds = [key for key in claim if key in CRITERIA]
    unknown = claim.keys() - CRITERIA.keys() - {"source", "text", *OPTIONS}
    if len(kinds) != 1 or unknown or not {"source", "text"} <= claim.keys():
        raise ConfigError(
            f"{where} has the keys {', '.join(claim)}; expected source, text and one of "
            f"{', '.join(CRITERIA)}"
        )
    if not isinstance(claim.get("published", ""), str):
        raise ConfigError(f"{where}: published is {claim['published']!r}, expected text")
    (kind,) = kinds
    value, number = claim[kind], CRITERIA[kind]
    named = [] if value is True else value if isinstance(value, list) else [value]
    enough = len(named) == number if kind != "flat" else "factor" in claim
    if not enough or not set(named) <= set(points):
        what = f"{number} of the points" if kind != "flat" else "points and a factor; points are"
        raise ConfigError(f"{where}: {kind} is {value!r}, expected {what} {', '.join(points)}")
    usual, but = MAIN_MEASURES[task][0], claim.get("but", [])
    measures = [*(but if isinstance(but, list) else [but])]
    if kind == "everywhere" and claim.get("measure", EVERYWHERE[task][0]) not in EVERYWHERE[task]:
        raise ConfigError(
            f"{where}: measure is {claim['measure']}, expected {' or '.join(EVERYWHERE[task])}, or "
            "none for all of them"
        )
    if kind != "everywhere":
        measures.append(claim.get("measure", usual))
    for measure in measures:
        if not is_measure(str(measure), task):
            raise ConfigError(
                f"{where}: measure is {measure}, expected one such as {usual} or "
                "efficiency/seconds_per_video"
            )


@cache
def _studies(folder: Path) -> tuple[tuple[Study, ...], Mapping[str, ConfigError]]:
    places = [folder / ABLATIONS.parts[0], RECIPES / ABLATIONS.parts[0]]
    files = (file for place in places for file in sorted(place.rglob(STUDY_FILE)))
    found: dict[str, Study] = {}
    broken: dict[str, ConfigError] = {}
    for file in files:
        try:
            found.setdefault(_name(file), read_study(file))
        except ConfigError as error:
            broken[_name(file)] = error
            notice(f"study left out: {error}")
    usable = [study for study in found.values() if study.name not in broken]
    return tuple(sorted(usable, key=_order)), broken


def _order(study: Study) -> tuple[Any, ...]:
    return study.task, study.source == "", _natural(study.source), study.name


def _natural(point: str) -> list[tuple[int, float, str]]:
    parts = re.split(r"(\d+(?:\.\d+)?)", point)
    return [(0, float(p), "") if p[:1].isdigit() else (1, 0.0, p) for p in parts if p]
