"""Curves of several methods in panels side by side, with one legend."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from anticipate.figures.style import (
    FAINT_INK,
    INK,
    SMALL_SIZE,
    TEXT_SIZE,
    WIDTH,
    new_figure,
    text_inches,
)

COLORS = ("#1f5f99", "#b5651d", "#4d8f4d", "#8a4f9e", "#222222")
"""Of the curves in their order, apart for colour-blind eyes too."""
LINES = ("-", "--", ":")
"""Of the first curves that have all the colours, of the next, and so on."""
HEIGHT, MANY, ROW_HEIGHT = 2.9, 4, 0.18
"""Inches with up to so many names in the legend, and of each row of names more."""
LINE_INCHES = 0.6
"""Width of what stands before a name in the legend."""


class CurvesPanel(NamedTuple):
    """One panel."""

    x_label: str
    y_label: str
    curves: Mapping[str, Float[np.ndarray, "points 2"]]
    """Points (x, y) of each curve by its name in the legend."""
    ticks: Sequence[float] = ()
    """Places on a logarithmic axis of x; none for an axis that is linear."""
    diagonal: bool = False
    """Whether to mark where x and y are equal."""
    marked: bool = True
    """Whether points have marks."""


def curves_figure(panels: Sequence[CurvesPanel], title: str, note: str = "") -> Figure:
    """Draw panels of curves; a name has one colour and line in all of them.

    Args:
        panels: At least one.
        title: What is shown.
        note: Caveat to print in the corner.
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    looks = [(color, line) for line in LINES for color in COLORS]
    styles = {name: looks[place % len(looks)] for place, name in enumerate(names)}
    column = LINE_INCHES + max(text_inches(name, TEXT_SIZE) for name in names)
    columns = max(int(WIDTH / column), 1)
    rows = -(-max(len(names) - MANY, 0) // columns)
    figure = new_figure((WIDTH, HEIGHT + ROW_HEIGHT * rows), title, note)
    handles: dict[str, Any] = {}
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        if panel.diagonal:
            axes.plot([0, 1], [0, 1], color="#d9d9d6", linewidth=1.0)
        for name, points in panel.curves.items():
            color, line = styles[name]
            marks = {"marker": "o", "markersize": 3.0} if panel.marked else {}
            (handles[name],) = axes.plot(*points.T, line, color=color, linewidth=1.2, **marks)
        _dress(axes, panel)
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=TEXT_SIZE,
        labelcolor=INK,
    )
    return figure


def _dress(axes: Axes, panel: CurvesPanel) -> None:
    if panel.ticks:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(panel.ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel(panel.x_label, fontsize=TEXT_SIZE, color=INK)
    axes.set_ylabel(panel.y_label, fontsize=TEXT_SIZE, color=INK)
    axes.tick_params(length=2.5, labelsize=SMALL_SIZE, colors=FAINT_INK)
    axes.spines[["right", "top"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT_INK)
