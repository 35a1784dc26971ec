"""Glossary of the tensors that data, models, metrics and files exchange.

Axes: `batch` videos or clips; `tokens` sampled frames (every `sample_rate`-th frame, what a dense
network sees); `frames` frames at the annotation rate (what is scored); `steps` moments of a clip,
oldest first; `feature` input width; `classes`, `actions`; `samples` futures drawn for one
observation. Masks are True on valid positions.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anticipate.console import notice

PAD_LABEL = -100
"""Label of padded positions; equals torch's default `ignore_index`."""

NO_LABEL = -200
"""What predictions hold where a model names no class: never right. It is not PAD_LABEL, so that
padding among predictions stays a mistake that is found."""


class DenseBatch(NamedTuple):
    """Long videos (Breakfast, 50Salads, Assembly101), each cut at its own observation ratio."""

    features: Float[Tensor, "batch observed_tokens feature"]
    """Observed tokens, left-aligned; zeros beyond the observation of a shorter video."""
    targets: Int[Tensor, "batch tokens"]
    """Class of each observed and future token; PAD_LABEL beyond the last one."""
    observed: Bool[Tensor, "batch tokens"]
    """True on observed tokens whose features exist: a prefix of each row."""
    valid: Bool[Tensor, "batch tokens"]
    """True on observed and future tokens, False on padding."""
    frame_targets: Int[Tensor, "batch frames"]
    """Labels of the whole video at the annotation rate, then PAD_LABEL."""
    num_frames: Int[Tensor, " batch"]
    """Length T of each video at the annotation rate."""
    obs_ratios: tuple[float, ...]
    """Observation ratio alpha of each row; as Python floats: int(alpha * T) must be exact."""
    video_ids: tuple[str, ...]


class TranscriptBatch(NamedTuple):
    """Beginnings of the segments of long videos, for models that learn from labels alone."""

    labels: Int[Tensor, "batch segments"]
    """Class of each segment; PAD_LABEL beyond the last one of the beginning."""
    lengths: Int[Tensor, "batch segments"]
    """Frames of each segment at the annotation rate; 0 on padding."""
    num_segments: Int[Tensor, " batch"]
    """Segments of each beginning."""
    next_labels: Int[Tensor, " batch"]
    """Class of the segment that follows; PAD_LABEL at the end of a video."""
    num_frames: Int[Tensor, " batch"]
    """Length T of each video at the annotation rate."""


class ForecastVideo(NamedTuple):
    """A video of a batch and what a model forecasts of it, without padding."""

    video_id: str
    obs_ratio: float
    preds: Int[Tensor, "samples frames"]
    targets: Int[Tensor, " frames"]
    """Labels of the whole video."""

    @property
    def num_frames(self) -> int:
        """Length T of the video."""
        return len(self.targets)


class DenseForecast(NamedTuple):
    """What every dense model's `forecast(batch)` returns; metrics and files read only this."""

    preds: Int[Tensor, "samples batch frames"]
    """Class per frame at the annotation rate, from the first frame of the video on; its reader cuts
    each video at its horizon. NO_LABEL where a model names no class."""

    def videos(self, batch: DenseBatch) -> Iterator[ForecastVideo]:
        """Return the videos one at a time, each without padding.

        Args:
            batch: What was forecast; with labels of whole videos.
        """
        lengths = batch.num_frames.tolist()
        for row, (video_id, length) in enumerate(zip(batch.video_ids, lengths, strict=True)):
            preds, targets = self.preds[:, row, :length], batch.frame_targets[row, :length]
            yield ForecastVideo(video_id, batch.obs_ratios[row], preds, targets)


class ShortTermBatch(NamedTuple):
    """Clips that end `anticipation_time` before an action starts (EPIC-Kitchens, EGTEA Gaze+)."""

    features: Float[Tensor, "batch steps feature"]
    """Steps `step_time` apart, oldest first; the last is the newest frame that may be seen."""
    step_targets: Int[Tensor, "batch steps"]
    """What each step has to predict: the action one step later, PAD_LABEL where nothing is
    labelled; the last is `targets`."""
    targets: Int[Tensor, " batch"]
    """The action that follows; PAD_LABEL where the release withholds it."""
    frames: Int[Tensor, "batch steps"]
    """Frame number that each step asked for, counted from 1 at the annotation rate; 0 before the
    video, where features are zeros."""
    segment_ids: tuple[str, ...]
    """Row of the annotation that each clip anticipates."""
    video_ids: tuple[str, ...]
    first_targets: Int[Tensor, " batch"] | None = None
    """The action that the oldest step shows, PAD_LABEL where nothing is labelled; None where the
    data do not say."""


class TickBatch(NamedTuple):
    """Windows of TeSTra: long tokens, work tokens, and labels of all that it has to tell."""

    features: Float[Tensor, "batch steps feature"]
    """Of the long tokens, then of the work tokens; oldest first."""
    padding: Bool[Tensor, "batch long"]
    """True where a long token lies before the video and has no content."""
    labels: Int[Tensor, "batch tokens sources labels"]
    """Actions that the tick of each work and anticipation token shows, of its own video and of one
    that is mixed in; -1 after them. No token in scored windows."""
    weights: Float[Tensor, "batch tokens sources"]
    """Weights of the two; 1 and 0 where nothing is mixed in."""
    tokens: Int[Tensor, " batch"]
    """Token whose scores count; -1 for none: the scores are zeros."""
    targets: Int[Tensor, " batch"]
    """The action that follows; PAD_LABEL where the release withholds it."""
    frames: Int[Tensor, "batch 1"]
    """Frame number of the newest token, counted from 1 at the annotation rate."""
    segment_ids: tuple[str, ...]
    """Row of the annotation that each window anticipates."""
    video_ids: tuple[str, ...]


class ShortTermForecast(NamedTuple):
    """What every short-term model's `forecast(batch)` returns; metrics and files read only this."""

    logits: Float[Tensor, "batch steps actions"]
    """Scores of the action one step after each step; those of the last step are evaluated."""
    verbs: Float[Tensor, "batch steps verbs"] | None = None
    """Scores of the verb, where the model has its own; else the sums over actions count."""
    nouns: Float[Tensor, "batch steps nouns"] | None = None
    """The same of the noun; both or neither."""

    @property
    def evaluated(self) -> Float[Tensor, "batch scores"]:
        """Scores of the last step: of all actions, then of verbs and nouns where there are any."""
        own = (scores for scores in self if scores is not None)
        return torch.cat([scores[:, -1] for scores in own], dim=1)


class Taxonomy(NamedTuple):
    """Verb and noun of each action class."""

    verbs: tuple[int, ...]
    nouns: tuple[int, ...]
    num_verbs: int
    """Size of the verb label space, verbs without any action included."""
    num_nouns: int


ShortTermMeasures = Literal["ek100", "ek55", "egtea"]
"""Data set whose measures are computed: recalls of subsets, many-shot recalls, accuracies."""


class ShortTermProtocol(NamedTuple):
    """What a short-term data set scores, and on which rows and classes."""

    measures: ShortTermMeasures
    """Whose tables are computed."""
    taxonomy: Taxonomy
    row_subsets: Mapping[str, frozenset[str]]
    """Segment ids of `unseen`, `tail_verb`, `tail_noun`, `tail_action` (ek100)."""
    class_subsets: Mapping[str, frozenset[int]]
    """Class ids of `many_shot_verb`, `many_shot_noun`, `many_shot_action` (ek55)."""


def __getattr__(name: str) -> Any:
    if name != "Forecast":
        raise AttributeError(f"module 'anticipate.types' has no attribute '{name}'")
    notice("anticipate.types.Forecast is called DenseForecast now")
    return DenseForecast
