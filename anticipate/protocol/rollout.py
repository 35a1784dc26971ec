"""Futures of an observation, segment by segment: what UAAA and the tri-gram share."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Integer

from anticipate.errors import DataError
from anticipate.segments import Segments

MOST_SEGMENTS = 200
"""Segments of a future, that of the current action among them; the last one fills the rest."""

NextAction = Callable[[Sequence[int], Sequence[float]], Sequence[int] | None]
"""Maps the last action of each sample and its whole length to the action that follows; None where
all of them go on to the end."""

Length = Callable[[Sequence[int]], Sequence[float]]
"""Maps the action that each sample goes on with to its length in frames."""


def observed_segments(labels: Integer[np.ndarray, " observed_frames"]) -> Segments:
    """Group an observation into segments.

    Args:
        labels: Class per frame, from the first frame of the video on.

    Raises:
        DataError: The observation is empty.
    """
    if not len(labels):
        raise DataError("a forecast continues at least one observed frame, found none")
    return Segments.from_frames(labels)


def roll_out(
    observed: Segments,
    current: Sequence[float],
    num_frames: int,
    next_action: NextAction,
    length: Length,
    after_end: int | None = None,
) -> Integer[np.ndarray, "samples frames"]:
    """Continue an observation by actions and lengths in turn until all frames are filled.

    A current action that was seen for longer than its length ends at once; every later one lasts
    one frame or more. Histories keep fractions of frames, futures are whole frames. Both functions
    are called in turn, for all samples at a time, so they may keep a state.

    Args:
        observed: Segments of the observed frames; the last one goes on.
        current: Frames that it lasts in each sample, from its own first one on.
        num_frames: Length of the forecast from the first frame of the video.
        next_action: What follows.
        length: How long that lasts.
        after_end: Label of the frames after the last action; None where it goes on to the end.

    Returns:
        Class per frame, the observation itself first.
    """
    past, elapsed = int(observed.lengths.sum()), float(observed.lengths[-1])
    preds = np.empty((len(current), num_frames), observed.labels.dtype)
    preds[:, :past] = observed.to_frames()[:num_frames]
    ends: list[int] = [past] * len(current)
    actions: Sequence[int] = [int(observed.labels[-1])] * len(current)
    lengths = [max(float(frames), elapsed) for frames in current]
    left = [frames - elapsed for frames in lengths]
    for _ in range(MOST_SEGMENTS):
        if min(ends) >= num_frames:
            break
        for sample, action in enumerate(actions):
            preds[sample, ends[sample] :] = action  # up to the end: the last one fills the rest
            ends[sample] += int(min(left[sample], num_frames))
        following = next_action(actions, lengths)
        if following is None:
            for sample, end in enumerate(ends if after_end is not None else ()):
                preds[sample, end:] = after_end
            break
        actions = following
        lengths = left = [max(float(frames), 1.0) for frames in length(actions)]
    return preds
