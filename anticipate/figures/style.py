"""What all figures share: sizes, colours of text, an empty figure with its title, and files.

Every figure is a `matplotlib.figure.Figure` that nothing else refers to: no window, no pyplot and
no setting of matplotlib is touched, so figures can be drawn in any process and thread.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.textpath import TextPath

DPI = 150
WIDTH = 7.2
"""Inches: the text width of a two-column paper."""

TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 9.5, 8.0, 7.0
INK, FAINT_INK, NOTE_INK = "#222222", "#6b6b6b", "#b3261e"
"""Colours of text, of what frames the data, and of the note, which must not be overlooked."""


def new_figure(size: tuple[float, float], title: str, note: str) -> Figure:
    """Return an empty figure with its title, shrunk to its width, and its note in the corner.

    Args:
        size: Width and height in inches.
        title: What is shown.
        note: Caveat; may be empty.
    """
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
    room = size[0] - 0.3 - text_inches(note, TEXT_SIZE)
    shrink = min(1.0, room / max(text_inches(title, TITLE_SIZE), 0.01))
    figure.suptitle(title, x=0.01, ha="left", fontsize=TITLE_SIZE * shrink, color=INK)
    if note:
        figure.text(
            0.99, 0.985, note, ha="right", va="top", fontsize=TEXT_SIZE, color=NOTE_INK, gid="note"
        )
    return figure


@lru_cache(maxsize=1024)  # the names of a data set's classes come in figure after figure
def text_inches(text: str, size: float) -> float:
    """Return the width of a text, with room for hinting, which widens small letters."""
    return 1.08 * float(TextPath((0, 0), text, size=size).get_extents().width) / 72 if text else 0.0


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write `<name>.png` and `<name>.svg`, the same bytes for the same figure."""
    figure.savefig(folder / f"{name}.png")
    # Letters stay text, and neither ids nor dates differ between two runs.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def pixels(figure: Figure, path: Path | None = None) -> UInt8[np.ndarray, "height width 3"]:
    """Return the colours of a figure, which is drawn once, also for a PNG file if one is named."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    if path is not None:
        imsave(path, canvas.buffer_rgba(), dpi=figure.dpi)
    return np.asarray(canvas.buffer_rgba())[..., :3]
