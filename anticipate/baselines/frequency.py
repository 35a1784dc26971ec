"""The baseline that has seen no video: every action as often as in training."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

NEVER = 1e-6
"""Rows that an action without training rows counts as, which keeps its logarithm finite."""


class FrequencyPrior:
    """Scores every row with the logarithm of the actions' training rows.

    Args:
        class_counts: Training rows of each action.
    """

    def __init__(self, class_counts: Sequence[int]) -> None:
        self._logits = np.log(np.maximum(np.asarray(class_counts, np.float64), NEVER))

    def forecast(self, num_rows: int) -> Float64[np.ndarray, "rows actions"]:
        """Return the same scores for each row."""
        return np.tile(self._logits, (num_rows, 1))
