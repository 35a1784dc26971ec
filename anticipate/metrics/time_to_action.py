"""Time to action: how early the true class is among the first five (RULSTM, EK-55)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64


def time_to_action(
    hits: Bool[np.ndarray, "times rows"], times: Sequence[float]
) -> Float64[np.ndarray, " rows"]:
    """Return, for each row, the longest time before the action at which it is foreseen.

    Args:
        hits: Whether the true class is among the first five, by time of the last observed frame.
        times: Seconds from that frame to the action.

    Returns:
        Seconds; 0 where the action is never foreseen.

    >>> hits = np.array([[False, False], [True, False], [False, False]])
    >>> time_to_action(hits, (1.5, 1.0, 0.5)).tolist()
    [1.0, 0.0]
    """
    return (hits * np.asarray(times, np.float64)[:, None]).max(0)
