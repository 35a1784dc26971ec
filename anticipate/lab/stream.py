"""`anticipate stream`: what a model expects next, step by step along a video as if it were live."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from rich import box
from rich.live import Live
from rich.table import Table
from torch import Tensor

from anticipate.console import CommandParser, notice
from anticipate.datasets.batches.short_term_module import ShortTermDataModule
from anticipate.datasets.batches.ticks import anticipating_token
from anticipate.errors import ConfigError
from anticipate.models.short_term_anticipator import ShortTermAnticipator
from anticipate.tick_grid import RATE
from anticipate.training.loading import load_marked
from anticipate.training.provenance import add_foreign_option, figure_note

TOP = 5
SHOWN_MOMENTS = 4
"""Moments side by side in the live table: the newest and those before it."""


@runtime_checkable
class StepByStep(Protocol):
    """A network that goes along a video with a state of bounded size, such as AGA and TeSTra."""

    def initial_state(self, batch: int) -> Any:
        """Return the state of so many streams that have seen nothing."""

    def step(
        self, features: Float[Tensor, "batch feature"], state: Any
    ) -> tuple[Float[Tensor, "batch actions"], Any]:
        """Return the logits of the next step of each stream, and the state after it."""


class Moment(NamedTuple):
    """What the model expects at one time of a video."""

    time: float
    """Seconds from the beginning of the video."""
    frame: int
    """Frame number that was read, counted from 1 at the annotation rate."""
    top: tuple[tuple[str, float], ...]
    """The likeliest actions and their probabilities, likeliest first."""


def main(argv: list[str]) -> None:
    """Show the running top-5 of one video.

    Args:
        argv: The command's name and its options.

    Raises:
        AnticipateError: Any mistake of the user.
    """
    options = _parser().parse_args(argv[1:])
    (model, data), caveat = load_marked(
        options.ckpt, options.file, allow_foreign=options.allow_foreign_checkpoint
    )
    network = getattr(model, "network", None)
    if not isinstance(model, ShortTermAnticipator) or not isinstance(network, StepByStep):
        raise ConfigError(
            f"{options.ckpt} has no network that runs step by step: use one with the methods "
            "initial_state and step, such as AGA or TeSTra"
        )
    assert isinstance(data, ShortTermDataModule)
    if options.start is not None:
        notice(f"{options.video}: seen from {options.start:g} s on, nothing before counts")
    seconds: list[float] = []
    moments = _timed(stream(network, data, options.video, options.start, options.stop), seconds)
    if options.json:
        _print_lines(moments, caveat)
    else:
        note = figure_note(data.synthetic, caveat)
        _show(moments, f"{options.video}: what comes next{f' ({note})' if note else ''}")
    median, slow = 1000 * np.percentile(seconds, [50, 99])
    notice(f"{len(seconds)} steps: median {median:.2f} ms, 99th percentile {slow:.2f} ms")


def stream(
    network: StepByStep,
    data: ShortTermDataModule,
    video_id: str,
    start: float | None = None,
    stop: float | None = None,
) -> Iterator[Moment]:
    """Show a network a video every `step_time`, or tick, and yield what it expects each time.

    Args:
        network: Network in evaluation mode; its memory holds so many steps as it was built for,
            however long the video is.
        data: Data of the video, with the step time of the training.
        video_id: Video.
        start: Seconds of the first step; one step time into the video when None, its first tick
            where the data have windows.
        stop: Seconds after which to stop; the end of the video when None.

    Raises:
        ConfigError: No step of the video is in between.
        DataError: The data holds no such video.
    """
    step: Any = network.step
    if data.windows is not None:
        step = partial(step, token=anticipating_token(data.anticipation_time))
    state = network.initial_state(1)
    for moment, frame in _moments(data, video_id, start, stop):
        features = data.store.features_at(video_id, np.array([frame]))
        with torch.inference_mode():
            logits, state = step(torch.from_numpy(features), state)
        yield Moment(float(moment), frame, _top(logits[0].softmax(dim=0), data.vocabulary))


def _moments(
    data: ShortTermDataModule, video_id: str, start: float | None, stop: float | None
) -> list[tuple[Fraction, int]]:
    """Return the times to look at, exactly, and the frame of each.

    A step reads the last whole frame before its time, a tick the frame that begins there or before.
    """
    fps, num_frames = data.store.fps, data.store.num_frames(video_id)
    ticks = data.windows is not None
    step = Fraction(1, RATE) if ticks else Fraction(str(data.step_time))
    end = Fraction(num_frames, fps)
    first = step * (not ticks) if start is None else Fraction(str(start))
    last = end if stop is None else min(Fraction(str(stop)), end)
    times = (first + step * number for number in range((last - first) // step + 1))
    frames = ((moment, int(moment * fps) + ticks) for moment in times)
    moments = [(moment, frame) for moment, frame in frames if frame <= num_frames]
    if not moments or moments[0][1] < 1:
        raise ConfigError(
            f"nothing to see in {video_id} from {float(first):g} s to {float(last):g} s: the video "
            f"lasts {float(end):.2f} s; choose --start and --stop inside, --start first"
        )
    return moments


def _timed(moments: Iterator[Moment], seconds: list[float]) -> Iterator[Moment]:
    """Yield the moments and note how long each took: reading the features, and the network."""
    while True:
        begin = time.perf_counter()
        moment = next(moments, None)
        if moment is None:
            return
        seconds.append(time.perf_counter() - begin)
        yield moment


def _top(
    probs: Float[Tensor, " actions"], vocabulary: tuple[str, ...]
) -> tuple[tuple[str, float], ...]:
    best = probs.topk(min(TOP, len(probs)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return tuple((vocabulary[action], prob) for action, prob in pairs)


def _print_lines(moments: Iterator[Moment], caveat: str) -> None:
    marked = {"caveat": caveat} if caveat else {}
    for one in moments:
        best = [{"action": action, "probability": prob} for action, prob in one.top]
        line = {"time": one.time, "frame": one.frame, "top5": best, **marked}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def _show(moments: Iterator[Moment], title: str) -> None:
    shown: list[Moment] = []
    with Live(auto_refresh=False) as live:
        for moment in moments:
            shown = [*shown, moment][-SHOWN_MOMENTS:]
            live.update(_table(shown, title), refresh=True)


def _table(moments: list[Moment], title: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    for moment in moments:
        table.add_column(f"{moment.time:.2f} s", min_width=16)
    for rank in range(len(moments[-1].top)):
        ranked = (moment.top[rank] for moment in moments)
        table.add_row(str(rank + 1), *(f"{action} {prob:.0%}" for action, prob in ranked))
    return table


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="anticipate stream", description=__doc__)
    parser.add_argument("file", metavar="FILE.h5", help="data file that holds the video")
    parser.add_argument("--video", required=True, metavar="ID", help="video to go along")
    parser.add_argument("--ckpt", required=True, help="checkpoint of a run")
    parser.add_argument("--start", type=float, help="seconds of the first step")
    parser.add_argument("--stop", type=float, help="seconds after which to stop")
    parser.add_argument("--json", action="store_true", help="print one JSON line per step")
    add_foreign_option(parser)
    return parser
