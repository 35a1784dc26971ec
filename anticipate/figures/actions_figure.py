"""Which action comes before which: bars for one expected action, matrices for many."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from anticipate.figures.style import FAINT_INK, INK, SMALL_SIZE, TEXT_SIZE, new_figure

MODEL_COLOR, DATA_COLOR = "#1f5f99", "#d9a441"
"""What the network says, and what the data says."""
SHARES = LinearSegmentedColormap.from_list("shares", ["#f7f7f5", "#8fb4d6", "#1f5f99", "#0b2545"])

BAR_WIDTH, BAR_INCHES = 5.2, 0.3
"""Width of the bar chart, height of the bars of one candidate."""
CELL_INCHES, NAME_INCHES = 0.082, 1.15
"""Size of a cell of a matrix, and room for the names at its side and below."""
NAME_SIZE = 5.0


def predecessors_figure(
    candidates: Sequence[str],
    attention: Float[np.ndarray, " candidates"],
    frequency: Float[np.ndarray, " candidates"] | None,
    title: str,
    note: str = "",
) -> Figure:
    """Draw how attention is shared among some past actions, most attended first.

    Args:
        candidates: Names of the past actions.
        attention: Share of each, 0 to 1.
        frequency: How often each came before in training, as a share of all candidates; None where
            none of them ever did.
        title: What is shown.
        note: Caveat to print in the corner.
    """
    order = np.argsort(-attention, kind="stable")
    figure = new_figure((BAR_WIDTH, 1.05 + BAR_INCHES * len(candidates)), title, note)
    axes = figure.add_subplot()
    shown = {"attention of AGA": (attention, MODEL_COLOR)}
    if frequency is not None:
        shown["frequency in training"] = (frequency, DATA_COLOR)
    height = 0.8 / len(shown)
    for bar, (label, (shares, color)) in enumerate(shown.items()):
        places = np.arange(len(order)) + (bar - (len(shown) - 1) / 2) * height
        drawn = axes.barh(places, 100 * shares[order], height, color=color, label=label)
        axes.bar_label(drawn, fmt="%.0f", padding=2, fontsize=SMALL_SIZE, color=FAINT_INK)
    axes.set_yticks(range(len(order)), [candidates[at] for at in order], size=TEXT_SIZE, color=INK)
    axes.invert_yaxis()
    axes.margins(x=0.08, y=0.02)
    axes.set_xlabel(
        "share among these candidates (%)", fontsize=SMALL_SIZE, color=FAINT_INK, labelpad=2
    )
    axes.tick_params(axis="x", labelsize=SMALL_SIZE, colors=FAINT_INK, length=2.5)
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT_INK)
    figure.legend(
        loc="outside lower center", ncols=2, frameon=False, fontsize=TEXT_SIZE, labelcolor=INK
    )
    return figure


def matrices_figure(
    panels: Mapping[str, Float[np.ndarray, "actions actions"]],
    actions: Sequence[str],
    title: str,
    note: str = "",
) -> Figure:
    """Draw matrices of pairs of actions side by side: a row each for the action that follows.

    Args:
        panels: Shares by the title of the panel; each panel has its own scale.
        actions: Names of the rows and columns.
        title: What is shown.
        note: Caveat to print in the corner.
    """
    side = max(CELL_INCHES * len(actions), 1.4)
    size = (NAME_INCHES + (side + 0.75) * len(panels), side + NAME_INCHES + 0.45)
    figure = new_figure(size, title, note)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for place, (name, shares) in zip(axes, panels.items(), strict=True):
        _draw_matrix(figure, place, shares, actions, name)
    axes[0].set_yticks(range(len(actions)), actions, size=NAME_SIZE, color=INK)
    axes[0].set_ylabel("expected action", fontsize=TEXT_SIZE, color=INK)
    return figure


def _draw_matrix(
    figure: Figure,
    axes: Axes,
    shares: Float[np.ndarray, "actions actions"],
    actions: Sequence[str],
    name: str,
) -> None:
    image = axes.imshow(shares, cmap=SHARES, vmin=0.0, interpolation="nearest")
    axes.set_xticks(range(len(actions)), actions, size=NAME_SIZE, color=INK, rotation=90)
    axes.set_xlabel("past action", fontsize=TEXT_SIZE, color=INK)
    axes.set_title(name, fontsize=TEXT_SIZE, color=INK)
    axes.tick_params(length=0, pad=1.5)
    axes.spines[:].set_color("#d5d8dc")
    bar = figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02, format=PercentFormatter(1.0))
    bar.ax.tick_params(labelsize=NAME_SIZE, labelcolor=FAINT_INK, length=0)
    bar.outline.set_visible(False)
