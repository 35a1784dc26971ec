"""The ticks of a video, four a second, and those that the tokens of TeSTra stand for.

Tick t shows frame 1 + floor(t / 4 s). A window ends at tick `end`, which itself is not seen: its
work tokens are ticks end - 20, end - 18, .., end - 2, its long tokens come from the 256 ticks
before them, its anticipation tokens are about ticks end and end + 4.
"""

import numpy as np
from jaxtyping import Bool, Int

RATE = 4
"""Ticks a second."""
WORK = np.arange(-20, 0, 2)
"""Ticks of the work tokens from the end of the window."""
ANTICIPATED = np.array([0, 4])
"""Ticks of the anticipation tokens from the end of the window."""
LONG_TICKS = 256
"""Ticks before the work tokens from which the long tokens come."""

Ticks = Int[np.ndarray, " tokens"]


def first_tick(frames: Int[np.ndarray, "..."], fps: int) -> Int[np.ndarray, "..."]:
    """Return the tick that begins at or before each frame."""
    return frames * RATE // fps


def tick_frames(ticks: Int[np.ndarray, "..."], fps: int) -> Int[np.ndarray, "..."]:
    """Return the frame that each tick shows."""
    return 1 + ticks * fps // RATE


def long_ticks(
    begin: int, number: int, spread_evenly: bool
) -> tuple[Ticks, Bool[np.ndarray, " tokens"]]:
    """Return ticks of the long tokens, oldest first, and which of them have no content.

    Tokens before the video repeat tick 0, which is seen once.

    Args:
        begin: First work tick, which the long tokens precede.
        number: Long tokens.
        spread_evenly: As in training, from the oldest tick to the newest; else every
            (256 / number)-th tick.
    """
    if spread_evenly:
        ticks = np.linspace(begin - LONG_TICKS, begin - 1, number).astype(np.int64)
    else:
        ticks = begin - LONG_TICKS // number * np.arange(number, 0, -1)
    padding = ticks <= 0
    seen = np.flatnonzero(padding)[-1:]
    padding[seen] = False
    return ticks.clip(0), padding
