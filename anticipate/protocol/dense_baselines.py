"""Baselines of dense anticipation: the repeated label, and tri-grams of the transcripts."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer
from torch import Tensor

from anticipate.errors import DataError
from anticipate.protocol.rollout import observed_segments, roll_out
from anticipate.segments import Segments


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
            observed_labels: Class per frame, annotated or predicted, from the first frame on.
            num_frames: Length of the forecast from the first frame of the video.
            num_samples: Futures to return.
            generator: Unused; the signature is that of every baseline.

        Returns:
            Class per frame, the observation itself first.

        Raises:
            DataError: The observation is empty.
        """
        observed_segments(observed_labels)
        future = max(num_frames - len(observed_labels), 0)
        frames = np.pad(observed_labels, (0, future), mode="edge")[:num_frames]
        return np.tile(frames, (num_samples, 1))


START = -1
"""Stands twice before the first action of a transcript."""


@dataclass(frozen=True)
class TriGram:
    """Counts and length statistics of training transcripts.

    Args:
        cumulative_counts: By history (the last two actions, the last, none), running sums of how
            often each class, or the end at index `num_classes`, came next.
        mean_lengths: Mean frames of a segment of each class.
        std_lengths: Standard deviation of the same.
    """

    cumulative_counts: dict[tuple[int, ...], Int[np.ndarray, " outcomes"]]
    mean_lengths: Float[np.ndarray, " classes"]
    std_lengths: Float[np.ndarray, " classes"]

    @classmethod
    def fit(cls, transcripts: Sequence[Segments], num_classes: int) -> "TriGram":
        """Count training transcripts.

        Args:
            transcripts: Segments of whole training videos, lengths in frames at the annotation
                rate.
            num_classes: Classes of the data set.

        Raises:
            DataError: There is no training segment.
        """
        if not sum(len(transcript.labels) for transcript in transcripts):
            raise DataError("the tri-gram learns from at least one training segment, found none")
        counts: dict[tuple[int, ...], np.ndarray] = defaultdict(
            lambda: np.zeros(num_classes + 1, np.int64)
        )
        for transcript in transcripts:
            actions = [START, START, *transcript.labels.tolist(), num_classes]
            for before, last, following in zip(actions, actions[1:], actions[2:], strict=False):
                for history in _histories(before, last):
                    counts[history][following] += 1
        cumulative = {history: np.cumsum(count) for history, count in counts.items()}
        return cls(cumulative, *length_statistics(transcripts, num_classes))

    def forecast(
        self,
        observed_labels: Integer[np.ndarray, " observed_frames"],
        num_frames: int,
        num_samples: int,
        generator: np.random.Generator,
        after_end: int | None = None,
    ) -> Integer[np.ndarray, "samples frames"]:
        """Sample continuations of an observation.

        Args:
            observed_labels: Class per frame, annotated or predicted, from the first frame on.
            num_frames: Length of the forecast from the first frame of the video.
            num_samples: Futures to draw.
            generator: Random numbers.
            after_end: Label of the frames after the end that a future draws; None where its last
                action goes on.

        Returns:
            Class per frame, the observation itself first.

        Raises:
            DataError: The observation is empty.
        """
        observed = observed_segments(observed_labels)
        futures = []
        for _ in range(num_samples):  # one after the other: the first do not depend on their number
            walk = _Walk(self, observed, generator)
            current = walk.length(observed.labels[-1:].tolist())
            steps = walk.next_action, walk.length
            futures.append(roll_out(observed, current, num_frames, *steps, after_end))
        return np.concatenate(futures)

    def _sample_next(self, before: int, last: int, generator: np.random.Generator) -> int:
        """Return the next action, or `num_classes` for the end, after the longest known history."""
        known = next(h for h in _histories(before, last) if h in self.cumulative_counts)
        cumulative = self.cumulative_counts[known]
        return int(np.searchsorted(cumulative, generator.integers(cumulative[-1]), side="right"))


class _Walk:
    """Draws one future of a tri-gram: it knows the action before the last."""

    def __init__(self, model: TriGram, observed: Segments, generator: np.random.Generator) -> None:
        self.model, self.generator = model, generator
        self.before = [START, *observed.labels.tolist()][-2]

    def next_action(self, actions: Sequence[int], _: Sequence[float]) -> list[int] | None:
        following = self.model._sample_next(self.before, actions[0], self.generator)
        self.before = actions[0]
        return None if following == len(self.model.mean_lengths) else [following]

    def length(self, actions: Sequence[int]) -> list[float]:
        (last,) = actions
        return [self.generator.normal(self.model.mean_lengths[last], self.model.std_lengths[last])]


def _histories(before: int, last: int) -> tuple[tuple[int, ...], ...]:
    return (before, last), (last,), ()


def length_statistics(
    transcripts: Sequence[Segments], num_classes: int, least: int = 1
) -> tuple[Float[np.ndarray, " classes"], Float[np.ndarray, " classes"]]:
    """Return mean and standard deviation of the frames that segments of each class last.

    Args:
        transcripts: Segments of whole videos.
        num_classes: Classes of the data set.
        least: Segments that a class needs; one with fewer has the statistics of all segments.
    """
    labels = np.concatenate([transcript.labels for transcript in transcripts])
    lengths = np.concatenate([transcript.lengths for transcript in transcripts])
    of_class = [lengths[labels == action] for action in range(num_classes)]
    known = [own if len(own) >= least else lengths for own in of_class]
    return np.array([own.mean() for own in known]), np.array([own.std() for own in known])


def majority(preds: Int[Tensor, "samples frames"]) -> Int[Tensor, " frames"]:
    """Return the label that most samples give each frame; the smallest id on ties."""
    return preds.cpu().mode(dim=0).values
