"""Figures of a group of runs: each is a class in this folder, found because it is one."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import ClassVar

from matplotlib.figure import Figure

from anticipate.lab.report.run_groups import Group


class ReportFigure(ABC):
    """A kind of figure that the report shows for every group of comparable runs that has it."""

    title: ClassVar[str]
    """Heading above the figures."""
    source: ClassVar[str] = ""
    """Where a paper has such a figure."""

    @abstractmethod
    def draw(self, group: Group) -> Mapping[str, Figure]:
        """Return figures by the stem of their files; none where the runs have not what it needs."""


def report_figures() -> Iterator[ReportFigure]:
    """Yield every figure that a module next to this one defines, or that was imported."""
    package = __name__.rpartition(".")[0]
    for module in iter_modules(import_module(package).__path__, f"{package}."):
        import_module(module.name)
    yield from (kind() for kind in ReportFigure.__subclasses__())
