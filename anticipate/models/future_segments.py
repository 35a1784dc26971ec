"""The future as a list of segments (FUTR Sec. 3): what is learned, and what is read from it.

A list has one slot for each query: the actions of the segments, then NONE, whose class is the
number of classes, then padding. Durations are shares of the anticipated window in sampled frames.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from anticipate.horizons import future_window, target_frames
from anticipate.nn.futr import FUTROutput, future_labels, normalized_durations
from anticipate.types import NO_LABEL, PAD_LABEL, DenseBatch


class SegmentTargets(NamedTuple):
    """What a network that anticipates segments learns from a batch."""

    past: Int[Tensor, "batch observed_tokens"]
    """Class of each observed token; PAD_LABEL where there are no features."""
    actions: Int[Tensor, "batch queries"]
    """Class of each segment, one NONE where it fits, then PAD_LABEL."""
    durations: Float[Tensor, "batch queries"]
    """Share of each segment, 0 in slots without one."""


def segment_targets(
    batch: DenseBatch, sample_rate: int, num_queries: int, num_classes: int
) -> SegmentTargets:
    """Return the labels of the observed tokens and the segments of the future.

    Args:
        batch: Training batch.
        sample_rate: Frames per token.
        num_queries: Slots; later segments are cut off.
        num_classes: Number of classes, which is the class NONE.
    """
    seen = batch.observed[:, : batch.features.shape[1]]
    past = batch.targets[:, : seen.shape[1]].masked_fill(~seen, PAD_LABEL)
    rows = zip(batch.frame_targets, batch.num_frames.tolist(), batch.obs_ratios, strict=True)
    future = [
        labels[slice(*future_window(num_frames, ratio), sample_rate)]
        for labels, num_frames, ratio in rows
    ]
    tokens = pad_sequence(future, batch_first=True, padding_value=PAD_LABEL)
    return SegmentTargets(past, *future_segments(tokens, num_queries, num_classes))


def future_segments(
    tokens: Int[Tensor, "batch tokens"], num_queries: int, num_classes: int
) -> tuple[Int[Tensor, "batch queries"], Float[Tensor, "batch queries"]]:
    """Merge equal neighbours into segments; return their actions and durations.

    Args:
        tokens: Class of each sampled frame of the window, then PAD_LABEL.
        num_queries: Slots; later segments are cut off, the other durations stay as they are.
        num_classes: Class NONE.

    >>> future_segments(torch.tensor([[4, 4, 4, 2]]), 4, 7)
    (tensor([[   4,    2,    7, -100]]), tensor([[0.7500, 0.2500, 0.0000, 0.0000]]))
    """
    valid = tokens != PAD_LABEL
    first = F.pad(tokens[:, 1:] != tokens[:, :-1], (1, 0), value=True) & valid
    # One more slot takes padding and what is cut off.
    slot = (first.cumsum(dim=1) - 1).clamp(max=num_queries).masked_fill(~valid, num_queries)
    shape = (len(tokens), num_queries + 1)
    actions = tokens.new_full(shape, PAD_LABEL).scatter(1, slot, tokens)
    frames = torch.zeros(shape, device=tokens.device).scatter_add(1, slot, valid.float())
    end = first.sum(dim=1, keepdim=True).clamp(max=num_queries)
    actions = actions.scatter(1, end, num_classes)
    return actions[:, :-1], (frames / valid.sum(dim=1, keepdim=True))[:, :-1]


def class_loss(
    logits: Float[Tensor, "batch slots classes"], targets: Int[Tensor, "batch slots"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy, averaged over all slots of the batch that are not padding."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD_LABEL)


def duration_loss(
    durations: Float[Tensor, "batch queries"], targets: Float[Tensor, "batch queries"]
) -> Float[Tensor, ""]:
    """Return the squared error of the durations, averaged over all segments of the batch.

    Args:
        durations: Logarithms, as FUTR returns them; normalised over the slots with a segment.
        targets: Shares; 0 in slots without a segment.
    """
    segments = targets > 0
    errors = normalized_durations(durations, segments) - targets
    return errors.square().sum() / segments.sum()


def segment_losses(output: FUTROutput, targets: SegmentTargets) -> dict[str, Float[Tensor, ""]]:
    """Return the losses of observed labels, future actions and durations by their log names."""
    return {
        "train/segmentation": class_loss(output.segmentation, targets.past),
        "train/actions": class_loss(output.actions, targets.actions),
        "train/durations": duration_loss(output.durations, targets.durations),
    }


def segment_labels(
    output: FUTROutput, batch: DenseBatch, sample_rate: int, released: bool = False
) -> Int[Tensor, "batch frames"]:
    """Turn segments into a label for every frame from the start of a video to its horizon.

    Tokens are held over their frames, and the last label over frames for which there is none: the
    window can be one frame shorter than the longest horizon.

    Args:
        output: Answers of the network.
        batch: What it was asked.
        sample_rate: Frames per token.
        released: Whether the future is read as by FUTR's public code, see `future_labels`; NONE
            becomes NO_LABEL.
    """
    past, none = output.segmentation.argmax(dim=-1), output.actions.shape[-1] - 1
    videos = list(zip(batch.num_frames.tolist(), batch.obs_ratios, strict=True))
    longest = max(target_frames(*video) for video in videos)
    rows = []
    for row, video in enumerate(videos):
        start, end = future_window(*video)
        observed = past[row, : int(batch.observed[row].sum())].repeat_interleave(sample_rate)
        answers = (output.actions[row], output.durations[row], end - start, released)
        labels = torch.cat([_hold(observed, start), future_labels(*answers)])
        rows.append(_hold(labels.masked_fill(labels == none, NO_LABEL), longest))
    return torch.stack(rows)


def _hold(labels: Int[Tensor, " frames"], num_frames: int) -> Int[Tensor, " num_frames"]:
    """Return the first labels, or all of them and the last one again and again."""
    return labels[torch.arange(num_frames, device=labels.device).clamp(max=len(labels) - 1)]
