"""The baseline without a model: whatever was seen last goes on to the end."""

import numpy as np
from jaxtyping import Integer

from anticipate.errors import DataError


class LastLabel:
    """Repeats the last observed label; every sample is the same."""

    def forecast(
        self,
        observed_labels: Integer[np.ndarray, " observed_frames"],
        num_frames: int,
        num_samples: int,
        generator: np.random.Generator,
    ) -> Integer[np.ndarray, "samples frames"]:
        """Extend the observation.

        Args:
            observed_labels: Class per frame, annotated or decoded, from the first frame on.
            num_frames: Length of the forecast from the first frame of the video.
            num_samples: Futures to return.
            generator: Unused; the signature is that of every baseline.

        Returns:
            Class per frame, the observation itself first.

        Raises:
            DataError: The observation is empty.
        """
        if not len(observed_labels):
            raise DataError("a forecast continues at least one observed frame, found none")
        future = max(num_frames - len(observed_labels), 0)
        frames = np.pad(observed_labels, (0, future), mode="edge")[:num_frames]
        return np.tile(frames, (num_samples, 1))
