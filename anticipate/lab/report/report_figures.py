"""Figures of a group of runs: each is a class in this folder, found because it is one."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import ClassVar

from matplotlib.figure import Figure

from anticipate.figures.saved import TRUTH, Timeline, read_timelines, timeline_name
from anticipate.figures.timeline_figure import timeline_figure
from anticipate.files import FIGURES
from anticipate.lab.report.grid import Grid
from anticipate.lab.report.run_groups import Group
from anticipate.lab.report.runs import Run


class ReportFigure(ABC):
    """A kind of figure that the report shows for every group of comparable runs that has it."""

    title: ClassVar[str]
    """Heading above the figures."""
    source: ClassVar[str] = ""
    """Where a paper has such a figure."""

    @abstractmethod
    def draw(self, group: Group) -> Mapping[str, Figure]:
        """Return figures by the stem of their files; none where the runs have not what it needs."""

    def tables(self, group: Group) -> Sequence[Grid]:
        """Return tables of what the figures show; none by default."""
        return ()

    def caption(self, group: Group) -> str:
        """Return what has to be said about figures that were drawn; nothing by default."""
        return ""


def report_figures() -> Iterator[ReportFigure]:
    """Yield every figure that a module next to this one defines, or that was imported."""
    package = __name__.rpartition(".")[0]
    for module in iter_modules(import_module(package).__path__, f"{package}."):
        import_module(module.name)
    yield from (kind() for kind in ReportFigure.__subclasses__())


NUM_SAMPLES = 2
"""Futures of each method."""
METHODS = ("MixANT", "MANTA")
"""The methods that the paper shows; those of them that have runs are drawn."""


class SampledFutures(ReportFigure):
    """Every video that the first finished run of each method has drawn in its test."""

    title = "Sampled futures of test videos"
    source = "as in MixANT Fig. 11 to 13"

    def draw(self, group: Group) -> Mapping[str, Figure]:
        """Return a timeline of each video that all methods with timelines have drawn."""
        found = {method: _timelines(group, method) for method in METHODS}
        found = {method: lines for method, lines in found.items() if lines}
        keys = dict.fromkeys(key for lines in found.values() for key in lines)
        shared = [key for key in keys if all(key in lines for lines in found.values())]
        return dict(_draw(group, {m: lines[key] for m, lines in found.items()}) for key in shared)


def _timelines(group: Group, method: str) -> dict[tuple[str, float], Timeline]:
    for run in sorted((run for run in group.runs if run.method == method), key=_first):
        lines = read_timelines(run.folder / FIGURES)
        if lines:
            return {(line.video_id, line.obs_ratio): line for line in lines}
    return {}


def _first(run: Run) -> tuple[str, int, str]:
    return (*run.key, run.name)


def _draw(group: Group, lines: dict[str, Timeline]) -> tuple[str, Figure]:
    some = next(iter(lines.values()))
    rows = {TRUTH: some.rows[TRUTH]}
    names = {
        label: name for line in lines.values() for label, name in enumerate(line.classes) if name
    }
    for method, line in lines.items():
        samples = [labels for name, labels in line.rows.items() if name != TRUTH]
        for number, labels in enumerate(samples[:NUM_SAMPLES], start=1):
            rows[f"{method}, {number}"] = labels
    figure = timeline_figure(
        rows,
        some.observed_frames,
        tuple(names.get(label, "") for label in range(len(some.classes))),
        some.fps,
        f"{some.video_id}, {100 * some.obs_ratio:g} % observed",
        "synthetic features" if group.synthetic else "",
    )
    return f"{group.stem}_{timeline_name(some.video_id, some.obs_ratio)}", figure
