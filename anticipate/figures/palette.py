"""One colour per class: the same in every figure, apart for normal and colour-blind eyes.

Distances are taken in OKLab (Ottosson 2020), once as the colours are and once as deuteranopes and
protanopes see them (Machado, Oliveira and Fernandes 2009, severity 1).
"""

from functools import cache

import numpy as np
from jaxtyping import Float

BACKGROUND_CLASSES = frozenset({"SIL", "background", "action_start", "action_end"})
"""Classes in which nothing is done; they are grey."""

BACKGROUND_GREY = 0.83
"""Grey of those classes, from 0 (black) to 1 (white)."""

LIGHTNESS = (0.47, 0.86)
"""Range of OKLab lightness: neither lost on white nor heavy."""
CHROMA = (0.055, 0.165)
"""Range of OKLab chroma: neither mistaken for the grey nor glaring."""
STEPS = 26
"""Candidates per channel."""
VISION_WEIGHTS = np.array([1.0, 2.0, 2.0])[:, None, None]
"""Weight of distances to normal, deuteranope and protanope eyes; equal ones leave dull colours."""

_LINEAR_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_CONES_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_VISIONS = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
    ]
)


def class_colors(classes: tuple[str, ...]) -> Float[np.ndarray, "classes 3"]:
    """Return the colour (sRGB, 0 to 1) of each class: grey for background, else by its id alone.

    Args:
        classes: Names of the classes, in the order of their ids.
    """
    colors = _palette(len(classes)).copy()
    colors[[name in BACKGROUND_CLASSES for name in classes]] = BACKGROUND_GREY
    return colors


@cache
def _palette(num_colors: int) -> Float[np.ndarray, "colors 3"]:
    """Choose colours greedily, each as far as possible from white, grey and all before it.

    More colours continue the same sequence, so a class id has one colour in every data set.
    """
    candidates = _candidates()
    seen = _as_seen(candidates)
    nearest = np.full(len(candidates), np.inf)
    newest = _as_seen(np.array([[1.0] * 3, [BACKGROUND_GREY] * 3]))
    chosen: list[int] = []
    for _ in range(num_colors):
        distances = np.linalg.norm(seen[:, :, None] - newest[:, None], axis=-1)
        nearest = np.minimum(nearest, (VISION_WEIGHTS * distances).min(axis=(0, 2)))
        chosen.append(int(nearest.argmax()))
        newest = seen[:, chosen[-1:]]
    return candidates[chosen]


def _candidates() -> Float[np.ndarray, "candidates 3"]:
    axis = np.linspace(0.0, 1.0, STEPS)
    colors = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    oklab = _as_seen(colors)[0]
    chroma = np.hypot(oklab[:, 1], oklab[:, 2])
    light = (oklab[:, 0] >= LIGHTNESS[0]) & (oklab[:, 0] <= LIGHTNESS[1])
    return colors[light & (chroma >= CHROMA[0]) & (chroma <= CHROMA[1])]


def _as_seen(colors: Float[np.ndarray, "colors 3"]) -> Float[np.ndarray, "visions colors 3"]:
    """Map sRGB to OKLab, to normal, deuteranope and protanope eyes."""
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    perceived = np.clip(np.einsum("vij,cj->vci", _VISIONS, linear), 0.0, 1.0)
    return np.cbrt(perceived @ _LINEAR_TO_CONES.T) @ _CONES_TO_OKLAB.T
