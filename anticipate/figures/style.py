"""Figures as files."""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write `<name>.png` and `<name>.svg`, the same bytes for the same figure."""
    figure.savefig(folder / f"{name}.png")
    # Letters stay text, and neither ids nor dates differ between two runs.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
