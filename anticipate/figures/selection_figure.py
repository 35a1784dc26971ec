"""The map of expert selections: a point per video, coloured by activity (MixANT Fig. 6)."""

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from anticipate.figures.palette import class_colors
from anticipate.figures.style import FAINT_INK, INK, SMALL_SIZE, TEXT_SIZE, new_figure

SIZE = (6.0, 3.9)
"""Inches, legend included."""


def selection_figure(
    plane: Float[np.ndarray, "videos 2"], activities: list[str], title: str, note: str = ""
) -> Figure:
    """Draw a point per video.

    Args:
        plane: Where each video lies.
        activities: Activity of each video.
        title: What is shown.
        note: Caveat to print in the corner.
    """
    figure = new_figure(SIZE, title, note)
    axes = figure.add_subplot()
    names = sorted(set(activities))
    colors = class_colors(tuple(names))
    for name, color in zip(names, colors, strict=True):
        x, y = plane[[activity == name for activity in activities]].T
        axes.scatter(x, y, s=18, color=color, alpha=0.8, label=name or "unnamed", linewidths=0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#d5d8dc")
    axes.set_xlabel("t-SNE: only neighbourhoods mean something", size=SMALL_SIZE, color=FAINT_INK)
    figure.legend(
        loc="outside right center",
        frameon=False,
        fontsize=TEXT_SIZE,
        labelcolor=INK,
        handletextpad=0.1,
        title="activity",
        title_fontsize=TEXT_SIZE,
    )
    return figure
