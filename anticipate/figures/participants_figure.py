"""How far recall falls from participants of the training part to new ones, by system."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from anticipate.figures.style import FAINT_INK, INK, SMALL_SIZE, TEXT_SIZE, WIDTH, new_figure

COLORS = {"held out": "#8a8f98", "seen": "#1f5f99", "unseen": "#b5651d"}
"""Colour of each group of videos, from the nearest to the training part to the farthest."""
MARKERS = {"held out": "D", "seen": "o", "unseen": "s"}
OFFSET, BELOW = 0.28, 0.11
"""Rows between two groups of a system, and from a group to its participants."""
SYSTEM_INCHES, FRAME_INCHES = 0.75, 1.2
"""Height of a system, and of everything around those."""
GRID = "#e6e8eb"


class GroupRecall(NamedTuple):
    """Recall of a group of videos, in percent."""

    recall: float
    low: float
    high: float
    """Ends of its interval over videos."""
    participants: Float[np.ndarray, " participants"]
    """Recall of each participant alone."""


Systems = Mapping[str, Mapping[str, GroupRecall]]
"""By system and group, whose names are those of `COLORS`."""


def participants_figure(panels: Mapping[str, Systems], title: str, note: str = "") -> Figure:
    """Draw the recall of every group of participants, a row per system and a panel per task.

    Large marks are recalls, whiskers intervals over videos, small marks single participants.

    Args:
        panels: Recalls by what is predicted; at least one, all with the same systems.
        title: What is shown.
        note: Caveat to print in the corner.
    """
    names = list(next(iter(panels.values())))
    figure = new_figure((WIDTH, FRAME_INCHES + SYSTEM_INCHES * len(names)), title, note)
    subplots = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (task, systems) in zip(subplots, panels.items(), strict=True):
        for row, groups in enumerate(systems.values()):
            _draw_system(axes, row, groups)
        _dress(axes, f"{task} (%)")
    subplots[0].set_yticks(range(len(names)), names)
    subplots[0].set_ylim(len(names) - 0.5, -0.5)
    handles, labels = subplots[0].get_legend_handles_labels()
    by_label = dict(zip(labels, handles, strict=True))
    figure.legend(
        [by_label[group] for group in COLORS if group in by_label],
        [group for group in COLORS if group in by_label],
        loc="outside lower right",
        ncols=len(by_label),
        frameon=False,
        fontsize=TEXT_SIZE,
    )
    return figure


def _draw_system(axes: Axes, row: int, groups: Mapping[str, GroupRecall]) -> None:
    shown = [group for group in COLORS if group in groups]
    for place, name in enumerate(shown):
        one = groups[name]
        y = row + OFFSET * (place - (len(shown) - 1) / 2)
        color, marker = COLORS[name], MARKERS[name]
        axes.plot(
            one.participants,
            np.full(len(one.participants), y + BELOW),
            marker,
            color=color,
            markersize=2.5,
            alpha=0.5,
            linewidth=0,
            markeredgewidth=0,
        )
        axes.plot([one.low, one.high], [y, y], color=color, linewidth=1.3)
        axes.plot(one.recall, y, marker, color=color, markersize=5.0, label=name, linewidth=0)


def _dress(axes: Axes, label: str) -> None:
    axes.set_xlabel(label, fontsize=TEXT_SIZE, color=INK)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=SMALL_SIZE, labelcolor=FAINT_INK)
    axes.tick_params(axis="y", labelsize=TEXT_SIZE, labelcolor=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
