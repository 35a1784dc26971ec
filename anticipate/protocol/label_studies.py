"""What the protocol gives away, by baselines that need labels alone.

A horizon is a share of the whole video, so whoever anticipates knows that the video goes on that
far. `TOLD` are three readings of the same tri-gram, scored at shares and at seconds; `misread`
spoils the observed labels as a recogniser would.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, Integer

from anticipate.datasets.file.dense_file import DenseStore
from anticipate.horizons import evaluation_window, observed_frames
from anticipate.protocol.dense_baselines import LastLabel, TriGram
from anticipate.protocol.dense_scores import PRED_RATIOS
from anticipate.protocol.moc import find_runs, without_no_label
from anticipate.protocol.sampled_futures import BestOfSubsets
from anticipate.segments import Segments
from anticipate.types import NO_LABEL

Futures = Integer[np.ndarray, "samples frames"]

SECONDS = (5.0, 10.0, 20.0, 30.0, 60.0)
"""Horizons that do not depend on the length of a video; those beyond its end stop there."""
ACCURACIES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the observed frames that are recognised."""
TOLD = ("nothing", "that the video goes on", "the length of the video")
"""What a tri-gram is told of the length of a video."""
CONFUSED = ("of its activity", "of any activity")
"""What a segment that is mistaken is taken for: a class .."""
RECOGNISED = "recognised"
"""Where the scores by recognition tell what was recognised."""
DRAWS = 10
"""Futures drawn for each one kept where the length is told."""
LONGEST = 3
"""Lengths of the video after which a future that has not ended is cut."""


def baseline_generator(seed: int, video_id: str) -> np.random.Generator:
    """Return the random numbers of a baseline, the same whatever other videos there are."""
    return np.random.default_rng([seed, *video_id.encode()])


def told_length(
    model: TriGram,
    observed: Integer[np.ndarray, " observed_frames"],
    video_frames: int,
    num_samples: int,
    generator: np.random.Generator,
) -> Futures:
    """Draw many futures and keep those whose own length is nearest to that of the video.

    The last action of a future that ends too early goes on.

    Args:
        model: Tri-gram.
        observed: Class of each observed frame.
        video_frames: Length of the video.
        num_samples: Futures to keep.
        generator: Random numbers.

    Returns:
        Class of each frame of the video.
    """
    longest = LONGEST * video_frames
    draws = model.forecast(observed, longest, DRAWS * num_samples, generator, NO_LABEL)
    lengths = (draws != NO_LABEL).sum(1)
    distance = np.abs(np.log(lengths / video_frames))
    kept = np.sort(np.argsort(distance, kind="stable")[:num_samples])
    last = draws[kept, lengths[kept] - 1]
    futures = draws[kept, :video_frames]
    return np.where(futures == NO_LABEL, last[:, None], futures)


class LabelledSplit(NamedTuple):
    """The labels of one split."""

    num_classes: int
    fps: float
    transcripts: tuple[Segments, ...]
    """Of the training videos."""
    videos: Mapping[str, Int64[np.ndarray, " frames"]]
    """Class of each frame of the test videos."""
    confusions: Mapping[str, Mapping[str, Int64[np.ndarray, " classes"]]]
    """By each of `CONFUSED` and by test video, the training frames of each class."""

    @classmethod
    def read(cls, store: DenseStore, split: int | str) -> "LabelledSplit":
        """Read the labels of a data file.

        Raises:
            ConfigError: The file has no such split.
        """
        frames: dict[str, np.ndarray] = {}
        transcripts = []
        for video in store.split(split, "train"):
            labels = store.labels(video)
            transcripts.append(Segments.from_frames(labels))
            counts = np.bincount(labels, minlength=store.num_classes)
            activity = store.activity(video)
            frames[activity] = frames.get(activity, 0) + counts
        test, every = store.split(split, "test"), np.array([*frames.values()]).sum(0)
        own = {video: frames.get(store.activity(video), every) for video in test}
        return cls(
            store.num_classes,
            float(store.fps),
            tuple(transcripts),
            {video: store.labels(video).astype(np.int64) for video in test},
            dict(zip(CONFUSED, (own, dict.fromkeys(test, every)), strict=True)),
        )


class MocByHorizon:
    """Mean and Top-1 MoC of futures of several videos at horizons in frames."""

    def __init__(self, num_classes: int, num_samples: int) -> None:
        self._best = BestOfSubsets(num_classes, (1, num_samples))

    def update(
        self, preds: Futures, labels: Int64[np.ndarray, " video_frames"], past: int, ends: list[int]
    ) -> None:
        """Score one video.

        Args:
            preds: Futures, from the first frame of the video on.
            labels: Class of each frame of the video.
            past: First frame that is scored.
            ends: Where each horizon ends, ascending.
        """
        future = slice(past, ends[-1])
        runs = find_runs(preds[:, future], labels[future], np.array(ends) - past)
        num_classes = self._best.num_classes
        self._best.update(without_no_label(runs, num_classes), len(ends))

    def compute(self) -> dict[str, list[float]]:
        """Return percentages by measure, one per horizon."""
        mean, top1 = self._best.compute().tolist()
        return {"mean_moc": mean, "top1_moc": top1}


def score_known_length(
    split: LabelledSplit, obs_ratio: float, num_samples: int, seed: int
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Score the tri-gram by what it is told of the length of the video.

    Args:
        split: Labels.
        obs_ratio: Observed share of each video.
        num_samples: Futures of each video.
        seed: Seed of the futures.

    Returns:
        By each of `TOLD`, by unit of the horizon (`share`, `seconds`), Mean and Top-1 MoC.
    """
    model = TriGram.fit(split.transcripts, split.num_classes)
    scores = {
        told: {unit: MocByHorizon(split.num_classes, num_samples) for unit in ("share", "seconds")}
        for told in TOLD
    }
    for video_id, labels in split.videos.items():
        frames, past = len(labels), observed_frames(len(labels), obs_ratio)
        ends = {
            "share": [evaluation_window(frames, obs_ratio, ratio)[1] for ratio in PRED_RATIOS],
            "seconds": [min(past + round(time * split.fps), frames) for time in SECONDS],
        }

        arguments = labels[:past], frames, num_samples
        draws = (
            model.forecast(*arguments, baseline_generator(seed, video_id), NO_LABEL),
            model.forecast(*arguments, baseline_generator(seed, video_id)),
            told_length(model, *arguments, baseline_generator(seed, video_id)),
        )
        for name, preds in zip(TOLD, draws, strict=True):
            for unit, score in scores[name].items():
                score.update(preds, labels, past, ends[unit])
    return {
        told: {unit: score.compute() for unit, score in units.items()}
        for told, units in scores.items()
    }


def score_recognition(
    split: LabelledSplit, confused: str, obs_ratio: float, num_samples: int, seed: int
) -> dict[str, dict[str, list[float]]]:
    """Score baselines on observations that are recognised to `ACCURACIES`.

    Args:
        split: Labels.
        confused: One of `CONFUSED`.
        obs_ratio: Observed share of each video.
        num_samples: Futures of each video.
        seed: Seed of the mistakes and of the futures.

    Returns:
        By baseline, Mean and Top-1 MoC for each accuracy, means over the horizons; and `recognised`
        with the percentage of frames and of last frames that are right.
    """
    models: dict[str, LastLabel | TriGram] = {
        "last-label": LastLabel(),
        "tri-gram": TriGram.fit(split.transcripts, split.num_classes),
    }
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for accuracy in ACCURACIES:
        scores = {name: MocByHorizon(split.num_classes, num_samples) for name in models}
        right = np.zeros(3)
        for video_id, labels in split.videos.items():
            past = observed_frames(len(labels), obs_ratio)
            ends = [evaluation_window(len(labels), obs_ratio, ratio)[1] for ratio in PRED_RATIOS]
            mistakes = np.random.default_rng([seed, 1, *video_id.encode()])
            confusions = split.confusions[confused][video_id]
            seen = misread(labels[:past], accuracy, confusions, mistakes)
            hits = seen == labels[:past]
            right += hits.sum(), past, hits[-1]
            for name, model in models.items():
                generator = baseline_generator(seed, video_id)
                preds = model.forecast(seen, ends[-1], num_samples, generator)
                scores[name].update(preds, labels, past, ends)
        found[RECOGNISED]["frames"].append(float(100 * right[0] / right[1]))
        found[RECOGNISED]["last_frames"].append(float(100 * right[2] / len(split.videos)))
        for name, score in scores.items():
            for measure, values in score.compute().items():
                found[name][measure].append(float(np.mean(values)))
    return {name: dict(values) for name, values in found.items()}


def misread(
    labels: Integer[np.ndarray, " observed_frames"],
    accuracy: float,
    confusions: Int64[np.ndarray, " classes"],
    generator: np.random.Generator,
) -> Integer[np.ndarray, " observed_frames"]:
    """Mistake each segment, whole, for another class, with probability 1 - accuracy.

    Boundaries stay where they are. With the same random numbers, what is mistaken at an accuracy is
    mistaken for the same class at every lower one.

    Args:
        labels: Class of each observed frame.
        accuracy: Expected share of the frames that are right, 0 to 1.
        confusions: Weight of each class that a mistaken segment is taken for; its own class is
            left out.
        generator: Random numbers.
    """
    segments = Segments.from_frames(labels)
    mistaken = generator.random(len(segments.labels)) >= accuracy
    places = generator.random(len(segments.labels))
    read = segments.labels.copy()
    for number in np.flatnonzero(mistaken):
        weights = confusions.copy()
        weights[read[number]] = 0
        sums = weights.cumsum()
        if sums[-1] > 0:
            read[number] = np.searchsorted(sums, places[number] * sums[-1], side="right")
    return segments._replace(labels=read).to_frames()
