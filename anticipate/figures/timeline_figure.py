"""Label sequences of one video as bars below each other (MixANT Fig. 11 to 13)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Integer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MultipleLocator

from anticipate.figures.palette import class_colors
from anticipate.figures.style import (
    FAINT_INK,
    INK,
    SMALL_SIZE,
    TEXT_SIZE,
    WIDTH,
    new_figure,
    text_inches,
)
from anticipate.segments import Segments
from anticipate.types import NO_LABEL

ROW_INCHES, LINE_INCHES = 0.3, 0.17
"""Height of a row of a timeline and of a line of its legend."""
BAR_HEIGHT = 0.74
"""Part of a row that its bar fills."""
OBSERVED_FADE = 0.55
"""How far forecasts fade to white where the video is observed: there nothing is at stake."""

COLUMN_INCHES, MAX_COLUMNS = 0.36, 8
"""What a column of the legend needs besides its names; most columns."""

TICK_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
MAX_TICKS = 9


def timeline_figure(
    rows: Mapping[str, Integer[np.ndarray, "_"]],
    observed_frames: int,
    classes: tuple[str, ...],
    fps: int | float,
    title: str,
    note: str = "",
) -> Figure:
    """Draw label sequences of one video as bars below each other.

    Args:
        rows: Class of each frame by the name of the row, from the first frame of the video on,
            NO_LABEL for none. The first row is the ground truth. Every other row, which may be
            shorter, is labelled with its share of correct future frames.
        observed_frames: Frames of the video that were observed.
        classes: Names of the classes, in the order of their ids.
        fps: Frames per second.
        title: What is shown.
        note: Caveat to print in the corner, such as `synthetic features`.
    """
    segments = [Segments.from_frames(labels) for labels in rows.values()]
    labels = np.concatenate([runs.labels for runs in segments])
    occurring = list(dict.fromkeys(labels[labels != NO_LABEL].tolist()))
    names = [classes[label].replace("_", " ") for label in occurring]
    columns = _legend_columns(names)
    lines = -(-len(names) // columns)
    height = 0.95 + ROW_INCHES * len(rows) + LINE_INCHES * lines
    figure = new_figure((WIDTH, height), title, note)
    axes = figure.add_subplot()
    colors, observed_seconds = class_colors(classes), observed_frames / fps
    for row, runs in enumerate(segments):
        _draw_bar(axes, row, runs, colors, observed_seconds, fps)
    _mark_observation(axes, observed_seconds, len(rows))
    _write_agreement(axes, list(rows.values()), observed_frames)
    _dress_timeline(axes, list(rows), max(map(len, rows.values())) / fps)
    _add_legend(figure, colors[occurring], names, columns)
    return figure


def _legend_columns(names: list[str]) -> int:
    """Return into how many columns, filled one after the other, the names fit side by side."""
    widths = np.array([text_inches(name, TEXT_SIZE) for name in names])
    for columns in range(min(len(names), MAX_COLUMNS), 1, -1):
        parts = np.array_split(widths, columns)
        if columns * COLUMN_INCHES + sum(part.max() for part in parts) < WIDTH:
            return columns
    return 1


def _add_legend(
    figure: Figure, colors: Float[np.ndarray, "names 3"], names: list[str], columns: int
) -> None:
    figure.legend(
        handles=[Patch(color=color, label=name) for color, name in zip(colors, names, strict=True)],
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=TEXT_SIZE,
        labelcolor=INK,
        handlelength=1.0,
        handleheight=1.0,
        columnspacing=1.4,
        borderpad=0.1,
        borderaxespad=0.1,
    )


def _draw_bar(
    axes: Axes,
    row: int,
    runs: Segments,
    colors: Float[np.ndarray, "classes 3"],
    observed_seconds: float,
    fps: int | float,
) -> None:
    place = (row - BAR_HEIGHT / 2, BAR_HEIGHT)
    named = runs.labels != NO_LABEL
    spans = np.stack([runs.starts / fps, runs.lengths / fps], axis=1)[named]
    # Without antialiasing neighbours meet exactly; with it a pale seam shows between them.
    style: dict[str, Any] = {"antialiased": False, "linewidth": 0}
    axes.broken_barh(spans.tolist(), place, facecolors=colors[runs.labels[named]], **style)
    if row:
        axes.broken_barh(
            [(0.0, observed_seconds)], place, facecolors="white", alpha=OBSERVED_FADE, **style
        )


def _mark_observation(axes: Axes, observed_seconds: float, num_rows: int) -> None:
    axes.vlines(observed_seconds, -0.78, num_rows - 0.5, color=INK, linewidth=1.1)
    for text, side, gap in (("observed", "right", -4), ("anticipated", "left", 4)):
        axes.annotate(
            text,
            (observed_seconds, -0.62),
            (gap, 0),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=SMALL_SIZE,
            color=FAINT_INK,
        )


def _write_agreement(
    axes: Axes, rows: list[Integer[np.ndarray, "_"]], observed_frames: int
) -> None:
    """Write the share of right future frames at the right of each row but the first."""
    texts = {-0.62: "correct"} if len(rows) > 1 else {}
    future = rows[0][observed_frames:]
    for row, labels in enumerate(rows[1:], start=1):
        preds = labels[observed_frames:]
        length = min(len(future), len(preds))
        if length:
            texts[row] = f"{100 * np.mean(future[:length] == preds[:length]):.0f} %"
    for height, text in texts.items():
        axes.text(
            1.012,
            height,
            text,
            transform=axes.get_yaxis_transform(),
            va="center_baseline",
            fontsize=SMALL_SIZE if text == "correct" else TEXT_SIZE,
            color=FAINT_INK if text == "correct" else INK,
        )


def _dress_timeline(axes: Axes, names: list[str], seconds: float) -> None:
    step = next((s for s in TICK_SECONDS if seconds / s < MAX_TICKS), TICK_SECONDS[-1])
    axes.set_xlim(0, seconds)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(_minutes))
    axes.set_xlabel("time (min:s)", fontsize=SMALL_SIZE, color=FAINT_INK, labelpad=2)
    axes.set_ylim(len(names) - 0.5, -0.85)
    axes.set_yticks(range(len(names)), names, fontsize=TEXT_SIZE, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", length=2.5, labelsize=SMALL_SIZE, colors=FAINT_INK)
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT_INK)


def _minutes(seconds: float, _: int | None = None) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
