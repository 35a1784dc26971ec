"""How often each expert is chosen in each mixture block (MixANT Fig. 5)."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from anticipate.figures.style import FAINT_INK, INK, SMALL_SIZE, TEXT_SIZE, new_figure

USAGE_COLORS = LinearSegmentedColormap.from_list("usage", ["#b5651d", "#f7f7f5", "#1f5f99"])
"""Less than an equal share, exactly that, more."""


def usage_figure(
    usage: Float[np.ndarray, "blocks routers experts"], title: str, note: str = ""
) -> Figure:
    """Draw how often each expert is chosen in each mixture block, with the equal share 1/E.

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
