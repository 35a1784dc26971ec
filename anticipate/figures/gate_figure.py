"""The weight of the past along a clip, with the actions at that time."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anticipate.figures.style import FAINT_INK, INK, SMALL_SIZE, TEXT_SIZE, WIDTH, new_figure

LINE_COLOR, BOUNDARY_COLOR = "#1f5f99", "#b5b5b0"
HEIGHTS = (1.7, 0.75)
"""Inches of the curve and of the strip of actions."""
STRIP_COLORS = ("#dfe6ec", "#c4d2de")
"""Neighbouring actions alternate, so that each is seen to end."""
SHORT_NAME_SHARE = 0.015
"""Actions shorter than this share of the picture have no room for a name."""


def gate_figure(
    times: Float[np.ndarray, " steps"],
    mean: Float[np.ndarray, " steps"],
    quantiles: Float[np.ndarray, "steps quantiles"],
    actions: Sequence[tuple[str, float, float]],
    title: str,
    note: str = "",
) -> Figure:
    """Draw the gate over time, above a strip of the actions.

    Args:
        times: When each step looks at the video, in seconds.
        mean: Mean weight of the channels, 0 (frame alone) to 1 (past alone).
        quantiles: Quantiles of the channels, an odd number, from the lowest to the highest; all
            equal for a gate with one weight.
        actions: Name, start and end of each action, in seconds.
        title: What is shown.
        note: Caveat to print in the corner.
    """
    figure = new_figure((WIDTH, sum(HEIGHTS) + 0.75), title, note)
    curve, strip = figure.subplots(2, 1, sharex=True, height_ratios=HEIGHTS)
    levels = quantiles.shape[1]
    for level in range(levels // 2):
        low, high = quantiles[:, level], quantiles[:, levels - 1 - level]
        curve.fill_between(times, low, high, color=LINE_COLOR, alpha=0.16, linewidth=0)
    curve.plot(times, mean, color=LINE_COLOR, linewidth=1.4, marker="o", markersize=2.5)
    curve.axhline(0.5, color=FAINT_INK, linewidth=0.6, linestyle=(0, (4, 4)))
    curve.set_ylabel("weight of the past", fontsize=TEXT_SIZE, color=INK)
    if (quantiles[:, 0] < quantiles[:, -1]).any():
        text = "line: mean of the channels; bands: their quantiles"
        curve.set_title(text, loc="right", fontsize=SMALL_SIZE, color=FAINT_INK, pad=2)
    for _, start, _ in actions:
        for axes in (curve, strip):
            axes.axvline(start, color=BOUNDARY_COLOR, linewidth=0.8, zorder=0)
    _draw_actions(strip, actions, times[0], times[-1])
    curve.set_xlim(times[0], times[-1])
    _dress(curve, strip)
    return figure


def _draw_actions(
    axes: Axes, actions: Sequence[tuple[str, float, float]], first: float, last: float
) -> None:
    for number, (name, begin, end) in enumerate(actions):
        start, stop = max(begin, first), min(end, last)
        color = STRIP_COLORS[number % len(STRIP_COLORS)]
        axes.broken_barh([(start, stop - start)], (0, 1), facecolors=color, linewidth=0)
        if stop - start > SHORT_NAME_SHARE * (last - first):
            axes.text(
                (start + stop) / 2,
                0.5,
                name,
                rotation=90,
                size=SMALL_SIZE,
                color=INK,
                ha="center",
                va="center",
            )
    axes.set_ylim(0, 1)


def _dress(curve: Axes, strip: Axes) -> None:
    strip.set_yticks([])
    strip.set_ylabel("action", fontsize=TEXT_SIZE, color=INK)
    strip.set_xlabel("time in the video (s)", fontsize=SMALL_SIZE, color=FAINT_INK, labelpad=2)
    strip.tick_params(axis="x", labelsize=SMALL_SIZE, colors=FAINT_INK, length=2.5)
    curve.tick_params(labelsize=SMALL_SIZE, colors=FAINT_INK, length=2.5)
    curve.tick_params(axis="x", length=0)
    for axes in (curve, strip):
        axes.spines[["right", "top"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FAINT_INK)
