"""Run folders: what the finished ones hold, and why others cannot be reported.

A run lives in `<run_dir>/<run_name>/split_<k>/seed_<n>`. A folder with `same_as.json` represents
another run, which had equal settings but for its name: `{"same_as": "<folder below run_dir>"}`.
"""

import json
import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple

import yaml

from anticipate import __version__
from anticipate.errors import DataError
from anticipate.figures.saved import read_usage
from anticipate.files import CONFIG, FIGURES, METRICS, READABLE_METRICS, SAME_AS, TEST_CONFIG
from anticipate.protocol.measures import named_scores

FILES = frozenset({CONFIG, METRICS, SAME_AS})
EXPECTED: Mapping[str, type | UnionType] = {
    "kind": str,
    "dataset": str,
    "split": str | int,
    "seed": int,
    "synthetic": bool,
    "scores": dict,
}
"""Keys that every `metrics.json` has, and the types of their values."""
OPTIONAL: Mapping[str, type | UnionType] = {
    "caveat": str | None,
    "scored_part": str | None,
    "efficiency": dict | None,
    "checkpoint": str | None,
}
"""Keys that some have."""

SHARE = "routing/largest_share"
"""Share of the choices that the most used expert takes, in percent, mean over blocks."""


class Run:
    """One finished run.

    Args:
        folder: Where its results lie; that of another run when this one only refers to it.
        root: Folder of all runs.
        name: Its `run_name`.
        metrics: Content of `metrics.json`.
    """

    def __init__(self, folder: Path, root: Path, name: str, metrics: Mapping[str, Any]) -> None:
        self.folder, self.root, self.name, self.metrics = folder, root, name, metrics

    @property
    def key(self) -> tuple[str, int]:
        """Split and seed: runs of different settings are compared where these are equal."""
        return str(self.metrics["split"]), self.metrics["seed"]

    @property
    def method(self) -> str:
        """Name of the tested model; the other methods of the file are baselines."""
        return next(iter(self.metrics["scores"]))

    @cached_property
    def values(self) -> dict[str, float]:
        """Scores of the model by their path, its costs (`efficiency/..`) and `SHARE`."""
        costs = {
            f"efficiency/{name}": float(value)
            for name, value in (self.metrics.get("efficiency") or {}).items()
            if isinstance(value, int | float)
        }
        return scores_of(self.metrics["scores"][self.method]) | costs | self._largest_share()

    def _largest_share(self) -> dict[str, float]:
        usage = read_usage(self.folder / FIGURES)
        return {} if usage is None else {SHARE: 100 * float(usage.max(axis=-1).mean())}


def scores_of(document: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores of a method by their path, without the Top-1 MoC of a single future.

    It would be its Mean MoC again, next to those of the best of many futures.
    """
    parts = [part for part in document.values() if isinstance(part, Mapping)]
    spread = [value for part in parts for value in part.get("frame_diversity", {}).values()]
    named = named_scores(document)
    if spread and not any(spread):
        return {path: score for path, score in named.items() if "/top1_moc/" not in path}
    return named


class Skipped(NamedTuple):
    """A run folder that is left out."""

    folder: Path
    reason: str


class Collection(NamedTuple):
    """What was found."""

    runs: tuple[Run, ...]
    skipped: tuple[Skipped, ...]


class _UnusableError(Exception):
    """Why one run folder cannot be reported."""


def collect(paths: Iterable[Path]) -> Collection:
    """Read every run folder below the given folders.

    Raises:
        DataError: A folder does not exist, or there is no run folder at all.
    """
    folders = sorted({folder for path in paths for folder in _run_folders(path)})
    if not folders:
        raise DataError("no run folder found: name the folder of all runs, such as runs")
    runs: list[Run] = []
    skipped: list[Skipped] = []
    for folder in folders:
        try:
            runs.append(_read(folder))
        except _UnusableError as error:
            skipped.append(Skipped(folder, str(error)))
    return Collection(tuple(runs), tuple(skipped))


def _run_folders(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        raise DataError(f"no folder {path}: name a folder of runs, such as runs")
    for folder, _, files in os.walk(path):
        here = Path(folder)
        is_seed = here.name.startswith("seed_") and here.parent.name.startswith("split_")
        if is_seed or FILES & set(files):
            yield here


def _read(folder: Path) -> Run:
    if (folder / SAME_AS).is_file():
        return _follow(folder)
    configs = [folder / name for name in (CONFIG, TEST_CONFIG) if (folder / name).is_file()]
    if not configs:
        raise _UnusableError(f"no {CONFIG}: half-deleted or never started; remove the folder")
    if not (folder / METRICS).is_file():
        raise _UnusableError(f"no {METRICS}: not finished: continue with --ckpt_path last")
    name = _run_name(configs[0])
    depth = len(Path(name).parts) + 1
    root = folder.parents[depth] if len(folder.parents) > depth else folder.parent
    return Run(folder, root, name, _read_metrics(folder / METRICS))


def _follow(folder: Path) -> Run:
    """Take the results of the run that this one refers to, over any number of references."""
    here, seen = folder, [folder]
    while (here / SAME_AS).is_file():
        root, here = _target(here)
        if here in seen:
            raise _UnusableError(
                f"{SAME_AS} leads in a circle over {here}: remove one of the files"
            )
        seen.append(here)
    name = str(folder.relative_to(root).parent.parent)
    return Run(here, root, name, _read(here).metrics)


def _target(folder: Path) -> tuple[Path, Path]:
    content = _read_json(folder / SAME_AS)
    target = content.get("same_as")
    for root in folder.parents:
        # a run named study/point may represent the run point: below the study that is itself
        if isinstance(target, str) and root / target != folder and (root / target).is_dir():
            return root, root / target
    raise _UnusableError(f"{SAME_AS} names '{target}', which no folder above it holds")


def _run_name(path: Path) -> str:
    try:
        config = yaml.load(path.read_text(), yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _UnusableError(f"{path.name} is not YAML: {str(error).splitlines()[0]}") from error
    name = config.get("run_name") if isinstance(config, dict) else None
    if not isinstance(name, str):
        raise _UnusableError(f"{path.name} has no run_name")
    return name


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _UnusableError(f"{path.name} is not JSON: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise _UnusableError(f"{path.name} holds no JSON object")
    return content


def _read_metrics(path: Path) -> dict[str, Any]:
    metrics = _read_json(path)
    version = metrics.get("version")
    if str(version).rpartition(".")[0] not in READABLE_METRICS:
        writer = f"anticipate {version}" if version else "an unnamed version"
        raise _UnusableError(f"written by {writer}, this is {__version__}: run its test again")
    given = {key: metrics[key] for key in OPTIONAL if key in metrics}
    unfit = [key for key, kind in EXPECTED.items() if not isinstance(metrics.get(key), kind)]
    unfit += [key for key, value in given.items() if not isinstance(value, OPTIONAL[key])]
    scores = metrics.get("scores")
    if not unfit and not (scores and all(isinstance(one, dict) for one in scores.values())):
        unfit = ["scores"]
    if unfit:
        raise _UnusableError(f"{path.name} has no usable {', '.join(unfit)}: run its test again")
    return metrics
