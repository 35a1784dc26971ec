"""`anticipate explain gate`: how AGA weighs its past against the current frame along a clip."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from anticipate.console import CommandParser
from anticipate.datasets.batches.clips import frame_labels
from anticipate.datasets.batches.short_term_module import ShortTermDataModule
from anticipate.datasets.file.segment_table import UNKNOWN, SegmentTable, joined
from anticipate.errors import ConfigError
from anticipate.figures.gate_figure import gate_figure
from anticipate.figures.style import save_figure
from anticipate.lab.explain.aga_run import AGARun, clip_items, load_aga
from anticipate.lab.explain.explain_command import (
    add_run_arguments,
    results_folder,
    write_csv,
    write_json,
)
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
    """An action during the time that the gate is shown for."""

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


class Clip(NamedTuple):
    """Moments of one video at which the network looks."""

    segment_id: str
    video_id: str
    frames: Int[np.ndarray, " steps"]
    """Frame numbers that are read, counted from 1 at the annotation rate."""
    times: Float[np.ndarray, " steps"]
    """Seconds of the video asked for; below 0 before it, where its oldest frame is used."""


def main(argv: list[str]) -> None:
    """Show the gate along one clip.

    Args:
        argv: The analysis's name and its options.

    Raises:
        AnticipateError: Any mistake of the user.
    """
    options = _parser().parse_args(argv[1:])
    settings = [] if options.num_steps is None else [f"--data.num_steps={options.num_steps}"]
    run = load_aga(options.ckpt, options.data, settings, options.allow_foreign_checkpoint)
    clip = find_clip(run.data, options.clip)
    features = run.data.store.features_at(clip.video_id, clip.frames)
    course = gate_course(run.network, torch.from_numpy(features))
    segments = video_segments(run.data, clip.video_id)
    first, last = (int(clip.frames[end]) for end in (0, -1))
    spans = shown_spans(segments, first, last, run.data.store.fps)
    with results_folder(options.output) as folder:
        _write(folder, run, clip, course, spans)


def find_clip(data: ShortTermDataModule, segment_id: str) -> Clip:
    """Return the moments of a clip.

    Args:
        data: Data module.
        segment_id: Segment that the clip anticipates.

    Raises:
        ConfigError: No such clip among those that the run is scored on.
    """
    dataset, fps = data.test_clips, data.store.fps
    (item,) = clip_items([segment_id], data)
    times = (dataset.rows.starts[item] - data.grid.lead_frames(fps)) / fps
    return Clip(segment_id, dataset.rows.video_ids[item], dataset.frames[item], times)


def video_segments(data: ShortTermDataModule, video_id: str) -> SegmentTable:
    """Return the segments of a video, whichever part they are in."""
    parts = data.store.num_rows[str(data.split)]
    rows = joined([data.store.rows(data.split, part) for part in parts])
    return rows.take(np.flatnonzero([video == video_id for video in rows.video_ids]))


def _write(folder: Path, run: AGARun, clip: Clip, course: GateCourse, spans: list[Span]) -> None:
    times = clip.times[1:]
    name = f"gate_{clip.segment_id.replace('/', '_')}"
    vocabulary = run.data.vocabulary
    figure = gate_figure(
        times,
        course.mean,
        course.quantiles,
        [(vocabulary[span.action], span.start, span.stop) for span in spans],
        f"{clip.segment_id}: weight of the past",
        run.note,
    )
    save_figure(figure, folder, name)
    begun = after_boundary(times, spans)
    rows = zip(
        clip.frames[1:].tolist(),
        times.tolist(),
        course.mean.tolist(),
        *course.quantiles.T.tolist(),
        begun.astype(int).tolist(),
        [vocabulary[action] for action in course.expected],
        strict=True,
    )
    quantiles = [f"quantile_{quantile}" for quantile in QUANTILES]
    header = ["frame", "time", "mean", *quantiles, "action_has_begun", "expected"]
    write_csv(folder / f"{name}.csv", header, rows)
    write_json(folder / f"{name}.json", _document(run, clip, course.mean, begun))


def _document(
    run: AGARun, clip: Clip, mean: Float[np.ndarray, " steps"], begun: Any
) -> dict[str, Any]:
    return {
        "clip": clip.segment_id,
        "video": clip.video_id,
        **run.origin,
        "gate": run.network.fusion.kind,
        "num_steps": len(mean),
        "mean": float(mean.mean()),
        "mean_where_an_action_has_begun": _mean(mean[begun]),
        "mean_elsewhere": _mean(mean[~begun]),
    }


def _mean(values: Float[np.ndarray, " chosen"]) -> float:
    return float(values.mean()) if values.size else float("nan")


def _parser() -> CommandParser:
    parser = CommandParser(prog="anticipate explain gate", description=__doc__)
    add_run_arguments(parser)
    parser.add_argument(
        "--clip", metavar="ID", required=True, help="segment that the clip anticipates"
    )
    parser.add_argument("--num_steps", type=int, help="steps of the clip (default: the run's)")
    return parser
