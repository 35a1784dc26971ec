"""A past that was and one that would have led elsewhere, step by step (AGA Sec. 3)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anticipate.figures.style import FAINT_INK, INK, SMALL_SIZE, TEXT_SIZE, WIDTH, new_figure

Ranking = Sequence[tuple[str, float]]
"""Names and probabilities of the likeliest actions, likeliest first."""

KEPT_COLOR, LEFT_COLOR, ENTERED_COLOR = "#c9d3dc", "#e3e3e0", "#f2b263"
"""Bars of actions that are in both rankings, only in the original, only in the counterfactual."""
KL_COLOR, SHOWN_COLOR = "#c9d3dc", "#1f5f99"
"""Bars of steps, and of those whose rankings are shown."""
HEIGHTS = (0.9, 1.0, 1.0)
"""Inches of the three rows: change of each step, original and counterfactual rankings."""
NAME_SIZE = 6.2


class StepChange(NamedTuple):
    """What one step expected, and what it would have had to expect."""

    title: str
    before: Ranking
    after: Ranking


def counterfactual_figure(
    times: Float[np.ndarray, " steps"],
    kl: Float[np.ndarray, " steps"],
    shown: Sequence[int],
    changes: Sequence[StepChange],
    target: str,
    title: str,
    note: str = "",
) -> Figure:
    """Draw how far each prediction moved, and the likeliest actions before and after.

    Args:
        times: When each past step looks at the video, in seconds from the start of the action,
            negative.
        kl: How far its prediction moved, in nats.
        shown: Positions of the steps whose rankings are drawn, oldest first.
        changes: Rankings of these steps, then of the last step, whose expectation was to change.
        target: Action that was to be expected, which is highlighted.
        title: What is shown.
        note: Caveat to print in the corner.
    """
    figure = new_figure((WIDTH, sum(HEIGHTS) + 0.75), title, note)
    grid = figure.add_gridspec(3, len(changes), height_ratios=HEIGHTS)
    _draw_change(figure.add_subplot(grid[0, :]), times, kl, shown)
    for column, change in enumerate(changes):
        top, bottom = (figure.add_subplot(grid[row, column]) for row in (1, 2))
        _draw_ranking(top, change.before, {name for name, _ in change.after}, LEFT_COLOR)
        _draw_ranking(bottom, change.after, {name for name, _ in change.before}, ENTERED_COLOR)
        for axes in (top, bottom):
            _mark(axes, target)
        top.set_title(change.title, fontsize=SMALL_SIZE, color=INK, pad=3)
        if column == 0:
            top.set_ylabel("original", fontsize=TEXT_SIZE, color=INK)
            bottom.set_ylabel("counterfactual", fontsize=TEXT_SIZE, color=INK)
    return figure


def _draw_change(
    axes: Axes,
    times: Float[np.ndarray, " steps"],
    kl: Float[np.ndarray, " steps"],
    shown: Sequence[int],
) -> None:
    colors = [SHOWN_COLOR if step in shown else KL_COLOR for step in range(len(kl))]
    places = np.arange(len(kl))
    axes.bar(places, kl, 0.8, color=colors)
    marked = places[::-1][:: max(1, len(kl) // 10)]
    axes.set_xticks(marked, [f"{times[step]:.3g}" for step in marked])
    axes.set_xlabel(
        "seconds from the start of the action", fontsize=SMALL_SIZE, color=FAINT_INK, labelpad=1
    )
    axes.set_ylabel("change\n(KL, nats)", fontsize=SMALL_SIZE, color=FAINT_INK)
    axes.tick_params(labelsize=SMALL_SIZE, colors=FAINT_INK, length=2.5)
    axes.margins(x=0.01)
    axes.spines[["right", "top"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT_INK)


def _draw_ranking(axes: Axes, ranking: Ranking, others: set[str], color: str) -> None:
    """Draw one ranking; actions that the other one lacks are coloured."""
    names, probs = zip(*ranking, strict=True)
    colors = [KEPT_COLOR if name in others else color for name in names]
    axes.barh(range(len(names)), probs, 0.86, color=colors)
    for rank, (name, prob) in enumerate(ranking):
        ink = INK if name in others or color == ENTERED_COLOR else FAINT_INK
        text = f"{name}  {100 * prob:.0f} %"
        axes.text(0.02, rank, text, size=NAME_SIZE, va="center_baseline", color=ink)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _mark(axes: Axes, target: str) -> None:
    for text in axes.texts:
        if text.get_text().startswith(f"{target}  "):
            text.set(fontweight="bold", color=INK)
