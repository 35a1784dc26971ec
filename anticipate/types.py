"""Glossary of the tensors that data, models, metrics and files exchange.

Axes: `batch` videos; `tokens` sampled frames (every `sample_rate`-th frame, what a network sees);
    `frames`
frames at the annotation rate (what is scored); `feature` input width; `classes`; `samples` futures
drawn for one observation. Masks are True on valid positions.
"""

from typing import NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor

PAD_LABEL = -100
"""Label of padded positions; equals torch's default `ignore_index`."""


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
    """Labels of the whole video at the annotation rate, then PAD_LABEL; empty in training."""
    num_frames: Int[Tensor, " batch"]
    """Length T of each video at the annotation rate."""
    obs_ratios: tuple[float, ...]
    """Observation ratio alpha of each row; as Python floats: int(alpha * T) must be exact."""
    video_ids: tuple[str, ...]


class Forecast(NamedTuple):
    """What every dense model's `forecast(batch)` returns; metrics and files read only this."""

    preds: Int[Tensor, "samples batch frames"]
    """Class per frame at the annotation rate, from the first frame of the video on; its reader cuts
    each video at its horizon."""
