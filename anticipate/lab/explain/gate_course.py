"""How AGA's gate moves along a video: g_t, the weight of the past against the current frame."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from anticipate.datasets.batches.clips import frame_labels
from anticipate.datasets.file.segment_table import UNKNOWN, SegmentTable
from anticipate.errors import ConfigError
from anticipate.nn.aga import AGA
from anticipate.segments import Segments

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Of the channels of a gate with a weight for each."""


class GateCourse(NamedTuple):
    """The gate at every step but the first, which has no past to weigh."""

    mean: Float[np.ndarray, " steps"]
    """Mean of the channels."""
    quantiles: Float[np.ndarray, "steps quantiles"]
    """`QUANTILES` of the channels."""
    expected: Int[np.ndarray, " steps"]
    """Action that the network expects next at the step."""


class Span(NamedTuple):
    """An action that goes on while the gate is looked at."""

    action: int
    start: float
    """Seconds from the beginning of the video."""
    stop: float


def gate_course(network: AGA, features: Float[Tensor, "steps feature"]) -> GateCourse:
    """Let a network go along some frames as along a stream, and note its gate.

    Args:
        network: Network in evaluation mode.
        features: At least two frames, oldest first; memory does not grow with their number.

    Raises:
        ConfigError: The network has no gate, or there is one frame only.
    """
    if network.fusion.gate is None:
        raise ConfigError(
            f"the network has no gate (gate: {network.fusion.kind}): explain one trained with "
            "gate: elementwise or scalar"
        )
    if len(features) < 2:
        raise ConfigError(
            "the clip has 1 step, and the first step has no past to weigh: name a longer clip"
        )
    weights: list[Float[np.ndarray, " width"]] = []
    expected = []
    hook = network.fusion.register_forward_hook(_note_into(weights))
    state = network.initial_state(1)
    try:
        with torch.inference_mode():
            for frame in features:
                logits, state = network.step(frame.unsqueeze(0), state)
                expected.append(int(logits.argmax()))
    finally:
        hook.remove()
    gate = np.stack(weights).astype(np.float64)
    return GateCourse(
        gate.mean(axis=1), np.quantile(gate, QUANTILES, axis=1).T, np.array(expected[1:])
    )


def shown_spans(segments: SegmentTable, first: int, last: int, fps: int) -> list[Span]:
    """Return the labelled actions between two frames of one video, one at a time.

    Args:
        segments: All segments of the video; of several at a time the latest is shown.
        first: First frame.
        last: Last frame.
        fps: Annotation rate.
    """
    if not segments.num_rows:
        return []
    labels = frame_labels(segments, last)[first:]
    runs = Segments.from_frames(labels)
    return [
        Span(int(action), (first + int(start)) / fps, (first + int(start + length)) / fps)
        for action, start, length in zip(runs.labels, runs.starts, runs.lengths, strict=True)
        if action != UNKNOWN
    ]


def after_boundary(
    times: Float[np.ndarray, " steps"], spans: list[Span]
) -> Bool[np.ndarray, " steps"]:
    """Tell the steps that are the first to see an action; the first step of all counts as none.

    Args:
        times: When each step looks at the video, in seconds.
        spans: Actions.
    """
    starts = np.array([span.start for span in spans])
    begun = (starts <= times[:, None]).sum(axis=1)
    return np.diff(begun, prepend=begun[:1]) > 0


def _note_into(weights: list[Float[np.ndarray, " width"]]) -> Any:
    def note(fusion: nn.Module, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
        weights.append(output[1][0].float().numpy())

    return note
