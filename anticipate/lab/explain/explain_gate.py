"""`anticipate explain gate`: how AGA weighs its past against the current frame along a clip.

Written into the output folder: `gate_<clip>.png` (weight of the past over time, its spread
over the channels, the actions that the annotation shows), as SVG too; `gate_<clip>.csv` with a row
for each step; `gate_<clip>.json` with the mean weight where an action has just begun and elsewhere.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from anticipate.console import CommandParser
from anticipate.datasets.batches.short_term_module import ShortTermDataModule
from anticipate.datasets.file.segment_table import SegmentTable, joined
from anticipate.figures.gate_figure import gate_figure
from anticipate.figures.style import save_figure
from anticipate.lab.explain.aga_run import AGARun, clip_items, load_aga
from anticipate.lab.explain.gate_course import (
    QUANTILES,
    GateCourse,
    Span,
    after_boundary,
    gate_course,
    shown_spans,
)
from anticipate.lab.explain.results_folder import (
    add_run_arguments,
    results_folder,
    write_csv,
    write_json,
)


class Clip(NamedTuple):
    """Moments of one video at which the network looks."""

    segment_id: str
    video_id: str
    frames: Int[np.ndarray, " steps"]
    """Frame numbers that are read, counted from 1 at the annotation rate."""
    times: Float[np.ndarray, " steps"]
    """Seconds of the video asked for; below 0 before it, where its oldest frame stands in."""


def main(argv: list[str]) -> None:
    """Show the gate along one clip.

    Args:
        argv: The analysis's name and its options.

    Raises:
        AnticipateError: Any mistake of the user.
    """
    options = _parser().parse_args(argv[1:])
    settings = [] if options.num_steps is None else [f"--data.num_steps={options.num_steps}"]
    run = load_aga(options.ckpt, options.data, settings)
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
    dataset, fps = data.test_dataset, data.store.fps
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
        "dataset": run.data.dataset,
        "synthetic": run.data.synthetic,
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
