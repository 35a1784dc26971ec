"""`anticipate explain gate`: how AGA weighs its past against the current frame along a clip.

Written into the output folder: `gate_<clip or video>.png` (weight of the past over time, its spread
over the channels, the actions that the annotation shows), as SVG too; `gate_<..>.csv` with a row
for each step; `gate_<..>.json` with the mean weight where an action has just begun and elsewhere.
"""

from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from anticipate.console import CommandParser
from anticipate.data.segment_table import SegmentTable, joined
from anticipate.data.short_term_module import ShortTermDataModule
from anticipate.errors import ConfigError
from anticipate.explain.aga_run import AGARun, add_run_arguments, clip_items, load_aga
from anticipate.explain.gate_course import (
    QUANTILES,
    GateCourse,
    Span,
    after_boundary,
    gate_course,
    shown_spans,
)
from anticipate.explain.results_folder import results_folder, write_csv, write_json
from anticipate.report.gate_figure import gate_picture
from anticipate.report.pictures import save_picture


class Walk(NamedTuple):
    """Moments of one video at which the network looks, the first one included."""

    name: str
    """Of the clip or the video."""
    video_id: str
    frames: Int[np.ndarray, " steps"]
    """Frame numbers, counted from 1 at the annotation rate."""


def main(argv: list[str]) -> None:
    """Show the gate along one clip or video.

    Args:
        argv: The analysis's name and its options.

    Raises:
        AnticipateError: Any mistake of the user.
    """
    options = _parser().parse_args(argv[1:])
    run = load_aga(options.ckpt, options.data)
    walk = clip_walk(run.data, options.clip) if options.clip else _video_walk(run.data, options)
    features = run.data.store.features_at(walk.video_id, walk.frames)
    course = gate_course(run.network, torch.from_numpy(features))
    fps = run.data.store.fps
    segments = video_segments(run.data, walk.video_id)
    spans = shown_spans(segments, int(walk.frames[0]), int(walk.frames[-1]), fps)
    with results_folder(options.output) as folder:
        _write(folder, run, walk, course, spans)


def clip_walk(data: ShortTermDataModule, segment_id: str) -> Walk:
    """Return the moments of a clip; steps that repeat its oldest frame are left out.

    Args:
        data: Data module.
        segment_id: Segment that the clip anticipates.

    Raises:
        ConfigError: No such clip among those that the run is scored on.
    """
    dataset = data.test_dataset
    (item,) = clip_items([segment_id], data)
    return Walk(segment_id, dataset.rows.video_ids[item], np.unique(dataset.frames[item]))


def video_segments(data: ShortTermDataModule, video_id: str) -> SegmentTable:
    """Return the segments of a video, whichever part they are in."""
    parts = data.store.num_rows[str(data.split)]
    rows = joined([data.store.rows(data.split, part) for part in parts])
    return rows.take(np.flatnonzero([video == video_id for video in rows.video_ids]))


def _video_walk(data: ShortTermDataModule, options: Namespace) -> Walk:
    """Return the moments of a video, one step time apart."""
    fps, end = data.store.fps, data.store.num_frames(options.video)
    first, last = options.start or 0.0, options.stop or end / fps
    times = np.arange(first, min(last, end / fps), data.step_time)
    frames = np.floor(times * fps).astype(np.int64) + 1
    if len(frames) < 2:
        raise ConfigError(
            f"fewer than 2 steps of {options.video} from {first:g} s to {last:g} s: the video "
            f"lasts {end / fps:.2f} s; choose --start and --stop inside, --start first"
        )
    return Walk(options.video, options.video, frames)


def _write(folder: Path, run: AGARun, walk: Walk, course: GateCourse, spans: list[Span]) -> None:
    times = walk.frames[1:] / run.data.store.fps
    name = f"gate_{walk.name.replace('/', '_')}"
    vocabulary = run.data.vocabulary
    figure = gate_picture(
        times,
        course.mean,
        course.quantiles,
        [(vocabulary[span.action], span.start, span.stop) for span in spans],
        f"{walk.name}: weight of the past",
        run.note,
    )
    save_picture(figure, folder, name)
    begun = after_boundary(times, spans)
    rows = zip(
        walk.frames[1:].tolist(),
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
    write_json(folder / f"{name}.json", _document(run, walk, course.mean, begun))


def _document(
    run: AGARun, walk: Walk, mean: Float[np.ndarray, " steps"], begun: Any
) -> dict[str, Any]:
    return {
        "name": walk.name,
        "video": walk.video_id,
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
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--clip", metavar="ID", help="segment that the clip anticipates")
    what.add_argument("--video", metavar="ID", help="whole video instead")
    parser.add_argument("--start", type=float, help="seconds of the video at which to begin")
    parser.add_argument("--stop", type=float, help="seconds of the video at which to end")
    return parser
