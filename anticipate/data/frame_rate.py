"""Numbers of annotated frames <-> positions in features stored at another rate, without rounding.

Frames are counted from 1 at the annotation rate f, rows from 0 at the stored rate R: row j is the
frame 1 + floor(j f / R). Rates are fractions, so that no product is ever off by one.
"""

from fractions import Fraction

import numpy as np
from jaxtyping import Int


def rows_of_frames(
    frames: Int[np.ndarray, " frames"], fps: int, stored_fps: Fraction
) -> Int[np.ndarray, " frames"]:
    """Return the last stored row at or before each frame: ceil(n R / f) - 1.

    Args:
        frames: Frame numbers n from 1 on; others give a negative row.
        fps: Annotation rate f.
        stored_fps: Stored rate R.
    """
    ratio = stored_fps / fps
    rows: np.ndarray = -(-frames.astype(np.int64) * ratio.numerator // ratio.denominator) - 1
    return rows


def frames_of_rows(num_rows: int, fps: int, stored_fps: Fraction) -> Int[np.ndarray, " rows"]:
    """Return the frame number of each stored row.

    Args:
        num_rows: Rows to count.
        fps: Annotation rate f.
        stored_fps: Stored rate R.
    """
    ratio = fps / stored_fps
    frames: np.ndarray = 1 + np.arange(num_rows) * ratio.numerator // ratio.denominator
    return frames


def count_rows(num_frames: int, fps: int, stored_fps: Fraction) -> int:
    """Return how many rows a video has: those whose frame is at most `num_frames`.

    Args:
        num_frames: Length of the video, its last frame.
        fps: Annotation rate f.
        stored_fps: Stored rate R.
    """
    ratio = num_frames * stored_fps / fps
    return -(-ratio.numerator // ratio.denominator)
