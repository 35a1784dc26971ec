"""Figures from plain arrays: timelines of forecasts and the use of experts.

Every function returns a `matplotlib.figure.Figure` that nothing else refers to: no window, no
pyplot and no setting of matplotlib is touched, so figures can be drawn in any process and thread.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Integer
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, MultipleLocator

from anticipate.figures.palette import class_colors
from anticipate.segments import Segments

DPI = 150
WIDTH = 7.2
"""Inches: the text width of a two-column paper."""

TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 9.5, 8.0, 7.0
INK, FAINT_INK, NOTE_INK = "#222222", "#6b6b6b", "#b3261e"
"""Colours of text, of what frames the data, and of the note, which must not be overlooked."""

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

USAGE_COLORS = LinearSegmentedColormap.from_list("usage", ["#b5651d", "#f7f7f5", "#1f5f99"])
"""Less than an equal share, exactly that, more."""


def timeline(
    rows: Mapping[str, Integer[np.ndarray, "_"]],
    observed_frames: int,
    classes: tuple[str, ...],
    fps: int | float,
    title: str,
    note: str = "",
) -> Figure:
    """Draw label sequences of one video as bars below each other.

    Args:
        rows: Class of each frame by the name of the row, from the first frame of the video on. The
            first row is the truth: beside every other row, which may be shorter, stands its share
            of right future frames.
        observed_frames: Frames of the video that were observed.
        classes: Names of the classes, in the order of their ids.
        fps: Frames per second.
        title: What is shown.
        note: Caveat to print in the corner, such as `synthetic features`.
    """
    segments = [Segments.from_frames(labels) for labels in rows.values()]
    occurring = list(dict.fromkeys(np.concatenate([runs.labels for runs in segments]).tolist()))
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


def expert_usage(
    usage: Float[np.ndarray, "blocks routers experts"], title: str, note: str = ""
) -> Figure:
    """Draw how often each expert is chosen in each mixture block, beside the equal share 1/E.

    Args:
        usage: Share of the choices, 0 to 1; sums to 1 over the experts. Two routers (one per scan
            direction) get a panel each.
        title: What is shown.
        note: Caveat to print in the corner.
    """
    num_blocks, num_routers, num_experts = usage.shape
    size = (1.6 + 0.48 * num_experts * num_routers, 1.15 + 0.22 * num_blocks)
    figure = new_figure((max(size[0], 3.5), size[1]), title, note)
    panels = figure.subplots(1, num_routers, sharey=True, squeeze=False)[0]
    images = [_draw_usage(panel, usage[:, router]) for router, panel in enumerate(panels)]
    panels[0].set_ylabel("mixture block", fontsize=TEXT_SIZE, color=INK)
    if num_routers > 1:
        for panel, direction in zip(panels, ("forward scan", "backward scan"), strict=True):
            panel.set_title(direction, fontsize=TEXT_SIZE, color=INK)
    bar = figure.colorbar(images[0], ax=panels, fraction=0.08, aspect=25, pad=0.03)
    bar.set_ticks(
        [0.0, 1 / num_experts, 1.0], labels=["0 %", f"1/E = {100 / num_experts:.3g} %", "100 %"]
    )
    bar.ax.tick_params(labelsize=SMALL_SIZE, labelcolor=FAINT_INK, length=0)
    bar.outline.set_visible(False)
    return figure


def new_figure(size: tuple[float, float], title: str, note: str) -> Figure:
    """Return an empty figure with its title, shrunk to its width, and its note in the corner.

    Args:
        size: Width and height in inches.
        title: What is shown.
        note: Caveat; may be empty.
    """
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
    room = size[0] - 0.3 - _text_inches(note, TEXT_SIZE)
    shrink = min(1.0, room / max(_text_inches(title, TITLE_SIZE), 0.01))
    figure.suptitle(title, x=0.01, ha="left", fontsize=TITLE_SIZE * shrink, color=INK)
    if note:
        figure.text(
            0.99, 0.985, note, ha="right", va="top", fontsize=TEXT_SIZE, color=NOTE_INK, gid="note"
        )
    return figure


def _text_inches(text: str, size: float) -> float:
    """Return the width of a text, with room for hinting, which widens small letters."""
    return 1.08 * float(TextPath((0, 0), text, size=size).get_extents().width) / 72 if text else 0.0


def _legend_columns(names: list[str]) -> int:
    """Return into how many columns, filled one after the other, the names fit side by side."""
    widths = np.array([_text_inches(name, TEXT_SIZE) for name in names])
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
    spans = np.stack([runs.starts / fps, runs.lengths / fps], axis=1)
    # Without antialiasing neighbours meet exactly; with it a pale seam shows between them.
    style: dict[str, Any] = {"antialiased": False, "linewidth": 0}
    axes.broken_barh(spans.tolist(), place, facecolors=colors[runs.labels], **style)
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


def _draw_usage(axes: Axes, usage: Float[np.ndarray, "blocks experts"]) -> AxesImage:
    num_blocks, num_experts = usage.shape
    norm = TwoSlopeNorm(vcenter=1 / num_experts, vmin=0.0, vmax=1.0)
    image = axes.imshow(usage, cmap=USAGE_COLORS, norm=norm, aspect="auto")
    for block, expert in np.ndindex(usage.shape):
        share = usage[block, expert]
        ink = "white" if abs(norm(share) - 0.5) > 0.3 else INK
        label = f"{100 * share:.0f}"
        axes.text(expert, block, label, ha="center", va="center", size=SMALL_SIZE, color=ink)
    axes.set_xticks(range(num_experts), [str(expert + 1) for expert in range(num_experts)])
    axes.set_yticks(range(num_blocks), [str(block + 1) for block in range(num_blocks)])
    axes.set_xlabel("expert", fontsize=TEXT_SIZE, color=INK)
    axes.tick_params(length=0, labelsize=SMALL_SIZE, labelcolor=FAINT_INK)
    axes.spines[:].set_visible(False)
    return image
