"""Baselines of dense anticipation: the repeated label, and tri-grams of the transcripts."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer

from anticipate.errors import DataError
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
        if not len(observed_labels):
            raise DataError("a forecast continues at least one observed frame, found none")
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
        return cls(cumulative, *_length_statistics(transcripts, num_classes))

    def forecast(
        self,
        observed_labels: Integer[np.ndarray, " observed_frames"],
        num_frames: int,
        num_samples: int,
        generator: np.random.Generator,
    ) -> Integer[np.ndarray, "samples frames"]:
        """Sample continuations of an observation.

        Args:
            observed_labels: Class per frame, annotated or predicted, from the first frame on.
            num_frames: Length of the forecast from the first frame of the video.
            num_samples: Futures to draw.
            generator: Random numbers.

        Returns:
            Class per frame, the observation itself first.

        Raises:
            DataError: The observation is empty.
        """
        if not len(observed_labels):
            raise DataError("a forecast continues at least one observed frame, found none")
        preds = np.empty((num_samples, num_frames), observed_labels.dtype)
        preds[:, : len(observed_labels)] = observed_labels[:num_frames]
        observed = Segments.from_frames(observed_labels)
        for sample in preds:
            self._continue(sample, observed, generator)
        return preds

    def _continue(
        self,
        frames: Integer[np.ndarray, " frames"],
        observed: Segments,
        generator: np.random.Generator,
    ) -> None:
        """Write a sampled future behind the observation."""
        before, last = [START, *observed.labels.tolist()][-2:]
        position = int(observed.lengths.sum())
        rest = self._sample_length(last, generator) - observed.lengths[-1]
        length = max(int(rest), 0)
        while position < len(frames):
            frames[position : position + length] = last
            position += length
            following = self._sample_next(before, last, generator)
            if following == len(self.mean_lengths):
                frames[position:] = last
                return
            before, last = last, following
            length = max(int(self._sample_length(last, generator)), 1)

    def _sample_length(self, action: int, generator: np.random.Generator) -> float:
        return generator.normal(self.mean_lengths[action], self.std_lengths[action])

    def _sample_next(self, before: int, last: int, generator: np.random.Generator) -> int:
        """Return the next action, or `num_classes` for the end, after the longest known history."""
        known = next(h for h in _histories(before, last) if h in self.cumulative_counts)
        cumulative = self.cumulative_counts[known]
        return int(np.searchsorted(cumulative, generator.integers(cumulative[-1]), side="right"))


def _histories(before: int, last: int) -> tuple[tuple[int, ...], ...]:
    return (before, last), (last,), ()


def _length_statistics(
    transcripts: Sequence[Segments], num_classes: int
) -> tuple[Float[np.ndarray, " classes"], Float[np.ndarray, " classes"]]:
    labels = np.concatenate([transcript.labels for transcript in transcripts])
    lengths = np.concatenate([transcript.lengths for transcript in transcripts])
    of_class = [lengths[labels == action] for action in range(num_classes)]
    known = [own if len(own) else lengths for own in of_class]
    return np.array([own.mean() for own in known]), np.array([own.std() for own in known])
