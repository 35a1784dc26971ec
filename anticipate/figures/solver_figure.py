"""Scores by solver and number of denoising steps, with the band of the sampling noise."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Integer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from anticipate.figures.style import FAINT_INK, INK, SMALL_SIZE, TEXT_SIZE, WIDTH, new_figure

PANELS = ("Mean MoC (%)", "Top-1 MoC (%)")
STYLES = (("#1f5f99", "o"), ("#b5651d", "s"), ("#4d8f4d", "^"))
"""Colour and marker of each solver, apart for colour-blind eyes too."""
VARIANT = ", "
"""Text between a solver and its variant, which has its colour and a dashed line."""
BAND = "#d9d9d6"
HEIGHT = 2.9
LEGEND_COLUMNS = 4


class Curve(NamedTuple):
    """The scores of one solver."""

    steps: Integer[np.ndarray, " points"]
    """Ascending."""
    scores: Float[np.ndarray, "points 2"]
    """Mean MoC and Top-1 MoC, percent."""


def solver_figure(
    curves: Mapping[str, Curve],
    protocol: Float[np.ndarray, " 2"],
    noise: Float[np.ndarray, " 2"],
    title: str,
    note: str = "",
) -> Figure:
    """Draw Mean and Top-1 MoC against the number of steps.

    Args:
        curves: Scores by the name of the solver.
        protocol: Scores of DDIM with 50 steps, the middle of the band.
        noise: Half the width of the band, in points.
        title: What is shown.
        note: Caveat to print in the corner.
    """
    figure = new_figure((WIDTH, HEIGHT), title, note)
    for index, axes in enumerate(figure.subplots(1, len(PANELS))):
        band = (protocol[index] - noise[index], protocol[index] + noise[index])
        axes.axhspan(*band, color=BAND, linewidth=0, label="DDIM-50 and its sampling noise")
        for name, curve in curves.items():
            axes.plot(curve.steps, curve.scores[:, index], label=name, **_style(name, curves))
        ticks = sorted({int(steps) for curve in curves.values() for steps in curve.steps})
        _dress(axes, PANELS[index], ticks)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(labels), LEGEND_COLUMNS),
        frameon=False,
        fontsize=TEXT_SIZE,
        labelcolor=INK,
    )
    return figure


def _style(name: str, names: Iterable[str]) -> dict[str, Any]:
    solver, *variant = name.split(VARIANT)
    solvers = list(dict.fromkeys(other.split(VARIANT)[0] for other in names))
    color, marker = STYLES[solvers.index(solver) % len(STYLES)]
    line = {"linestyle": "--", "markerfacecolor": "white"} if variant else {}
    return {"color": color, "marker": marker, "markersize": 3.5, "linewidth": 1.2, **line}


def _dress(axes: Axes, name: str, ticks: list[int]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel("denoising steps", fontsize=SMALL_SIZE, color=FAINT_INK)
    axes.set_title(name, fontsize=TEXT_SIZE, color=INK)
    axes.tick_params(length=2.5, labelsize=SMALL_SIZE, colors=FAINT_INK)
    axes.spines[["right", "top"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT_INK)
