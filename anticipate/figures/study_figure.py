"""Figures of studies: a score over the settings of a study, with every run and its spread."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from anticipate.figures.noise import Series, summarize
from anticipate.figures.style import FAINT_INK, INK, SMALL_SIZE, TEXT_SIZE, WIDTH, new_figure

BLUE, GREY, GRID = "#1f5f99", "#8a8f98", "#e6e8eb"
"""Colours of the complete model, of the other settings and of the lines behind them."""

PANEL_INCHES = 2.55
"""Height of a figure of curves."""
BAR_INCHES, FRAME_INCHES = 0.3, 1.0
"""Height of a setting that is a word, and of everything around those."""


def position(point: str) -> float | None:
    """Return where a point lies on an axis of numbers; `none` is 0, other words lie nowhere."""
    if point == "none":
        return 0.0
    return float(point) if re.fullmatch(r"\d+(\.\d+)?", point) else None


class Panel(NamedTuple):
    """One score of a study."""

    label: str
    """What is measured, with its unit."""
    points: Mapping[str, Series]
    """Scores by setting, in the order of the axis."""


def study_figure(
    panels: Sequence[Panel], axis: str, default: str, title: str, note: str = ""
) -> Figure:
    """Draw scores over the settings of a study: a curve over numbers, rows for words.

    Large marks are means, small ones single runs, whiskers standard deviations.

    Args:
        panels: The scores; at least one, each with at least one setting. Not all need all settings.
        axis: What the settings are.
        default: The setting of the complete model, which is marked.
        title: What is shown.
        note: Caveat to print in the corner.
    """
    fullest_first = sorted(panels, key=lambda panel: -len(panel.points))
    names = list(dict.fromkeys(name for panel in fullest_first for name in panel.points))
    numeric = all(position(name) is not None for name in names)
    height = PANEL_INCHES if numeric else FRAME_INCHES + BAR_INCHES * len(names)
    figure = new_figure((WIDTH, height), title, note)
    subplots = figure.subplots(1, len(panels), squeeze=False, sharey=not numeric)[0]
    for axes, panel in zip(subplots, panels, strict=True):
        if numeric:
            _draw_curve(axes, panel, default)
            axes.set_xlabel(axis, fontsize=TEXT_SIZE, color=INK)
        else:
            _draw_rows(axes, panel, default, names)
    return figure


def _draw_curve(axes: Axes, panel: Panel, default: str) -> None:
    places = {name: position(name) or 0.0 for name in panel.points}
    means = {name: summarize(series).mean for name, series in panel.points.items()}
    axes.plot(list(places.values()), list(means.values()), color=GREY, linewidth=1.2, zorder=1)
    for name, series in panel.points.items():
        spread = summarize(series).spread
        _draw_runs(axes, [places[name]] * len(series), list(series.values()))
        axes.errorbar(
            places[name], means[name], yerr=spread, **_mark(name == default), capsize=2, zorder=3
        )
    axes.set_xticks(list(places.values()), list(places))
    axes.set_ylabel(panel.label, fontsize=TEXT_SIZE, color=INK)
    _dress(axes, "y")


def _draw_rows(axes: Axes, panel: Panel, default: str, names: Sequence[str]) -> None:
    for name, series in panel.points.items():
        row, summary = names.index(name), summarize(series)
        _draw_runs(axes, list(series.values()), [float(row)] * len(series))
        axes.errorbar(
            summary.mean, row, xerr=summary.spread, **_mark(name == default), capsize=2, zorder=3
        )
        axes.annotate(
            f"{summary.mean:.3g}",
            (summary.mean, row),
            (0, 5),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=SMALL_SIZE,
            color=INK,
        )
    labels = [name.replace("_", " ") for name in names]
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.75)
    axes.margins(x=0.15)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel(panel.label, fontsize=TEXT_SIZE, color=INK)
    _dress(axes, "x")


def _draw_runs(axes: Axes, x: list[float], y: list[float]) -> None:
    if len(x) > 1:
        axes.plot(x, y, "o", color=GREY, markersize=2.5, alpha=0.6, linewidth=0, zorder=2)


def _mark(complete: bool) -> dict[str, Any]:
    color = BLUE if complete else GREY
    return {"fmt": "o", "color": color, "markersize": 6.0, "elinewidth": 1.0}


def _dress(axes: Axes, measured: str) -> None:
    axes.grid(axis="x" if measured == "x" else "y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=SMALL_SIZE, labelcolor=FAINT_INK)
    axes.tick_params(axis="y" if measured == "x" else "x", labelsize=TEXT_SIZE, labelcolor=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
