"""`anticipate score futures`: how many samples it takes, how reliable and how realistic they are.

Predictions files stand next to the tri-gram and the repeated label, both after the annotation of
the observed part, which no model of features has. All measures are of the longest horizon, but
Top-1 MoC, which is a mean over the horizons.
"""

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64
from rich import box
from rich.console import Console
from rich.table import Table

from anticipate.console import CommandParser, at_least_one, print_json
from anticipate.datasets.file.dense_file import DenseStore
from anticipate.errors import ConfigError
from anticipate.figures.curves_figure import CurvesPanel, curves_figure
from anticipate.figures.style import save_figure
from anticipate.horizons import evaluation_window, ratio_name
from anticipate.protocol.dense_baselines import LastLabel, TriGram
from anticipate.protocol.dense_predictions import DensePredictionsReader
from anticipate.protocol.dense_scores import PRED_RATIOS
from anticipate.protocol.label_studies import LabelledSplit, baseline_generator
from anticipate.protocol.moc import find_runs, without_no_label
from anticipate.protocol.sampled_futures import BestOfSubsets, Durations, Votes, count_votes
from anticipate.protocol.score_dense import score_dense

SIZES = (1, 2, 5, 10, 25, 50, 100)
"""Numbers of samples for which Top-1 MoC is computed, up to those that there are."""
OBS_RATIOS = (0.2, 0.3)
"""Observed shares where no predictions file says others."""
TRUTH = "ground truth"
NAN = float("nan")

SEGMENT_SECONDS = (1, 3, 10, 30, 100, 300)
"""Ticks of the axis of durations."""
MOST_DRAWN = 12
"""Segments of a future at which the figure ends."""

Forecast = Callable[[str, float], np.ndarray]
"""Futures of a video, observed to a ratio: integers (samples, frames)."""


class Measured(NamedTuple):
    """What the futures of one method show at one observation ratio."""

    sizes: tuple[int, ...]
    top1: Float64[np.ndarray, " sizes"]
    """Top-1 MoC of the best of so many samples, percent, mean over the horizons."""
    votes: Votes
    durations: Durations

    def document(self) -> dict[str, Any]:
        """Return the measures under the names of `--json`."""
        votes, durations = self.votes, self.durations
        return {
            "top1_moc_by_samples": dict(zip(map(str, self.sizes), self.top1.tolist(), strict=True)),
            "calibration_error": votes.calibration_error,
            "calibration_error_of_samples": votes.of_samples().calibration_error,
            "duration_distance": durations.distance,
            "segments": float(durations.num_sampled.mean()),
            "true_segments": float(durations.num_true.mean()),
        }


Methods = Mapping[str, Mapping[float, Measured]]
"""What was measured, by method and observation ratio."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the options of `anticipate score futures`."""
    parser.add_argument(
        "predictions", nargs="*", metavar="PREDICTIONS.h5", help="as anticipate predict writes them"
    )
    parser.add_argument("--data", required=True, metavar="FILE.h5", help="the prepared data file")
    parser.add_argument("--split", required=True, metavar="N", help="whose test videos are scored")
    parser.add_argument(
        "--samples", type=at_least_one, default=25, metavar="N", help="futures of the tri-gram (25)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the tri-gram (0)")
    parser.add_argument(
        "--allow-missing", action="store_true", help="score the videos that all files have"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for the figures")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: Namespace) -> None:
    """Measure the futures, print a table or a document, and draw the figures."""
    with ExitStack() as stack:
        store = stack.enter_context(DenseStore(options.data))
        files = [stack.enter_context(DensePredictionsReader(p)) for p in options.predictions]
        split = LabelledSplit.read(store, options.split)
        ratios = files[0].obs_ratios if files else OBS_RATIOS
        videos = _common_videos(files, store, split, ratios, options.allow_missing)
        measured: Methods = {
            name: {ratio: measure(forecast, split, videos, ratio) for ratio in ratios}
            for name, forecast in _methods(files, split, options)
        }
        synthetic = store.synthetic
        title = f"{store.dataset}, split {options.split}, {len(videos)} test videos"
    if options.output is not None:
        note = "synthetic features" if synthetic and files else ""
        write_figures(options.output, measured, title, split.fps, note)
    if options.json:
        print_json(
            {
                name: {ratio_name(ratio): one.document() for ratio, one in by_ratio.items()}
                for name, by_ratio in measured.items()
            }
        )
    else:
        Console().print(futures_table(title, measured))


def measure(
    forecast: Forecast, split: LabelledSplit, videos: Sequence[str], obs_ratio: float
) -> Measured:
    """Measure the futures of one method.

    Args:
        forecast: Its futures.
        split: Labels.
        videos: Test videos.
        obs_ratio: Observed share of each video.
    """
    best: BestOfSubsets | None = None
    durations, said, right = Durations(), np.zeros((), np.int64), np.zeros((), np.int64)
    for video in videos:
        labels, preds = split.videos[video], forecast(video, obs_ratio)
        windows = [evaluation_window(len(labels), obs_ratio, ratio) for ratio in PRED_RATIOS]
        past, end = windows[-1]
        preds, targets = preds[:, past:end].astype(np.int64), labels[past:end]
        runs = find_runs(preds, targets, np.array([last - past for _, last in windows]))
        runs = without_no_label(runs, split.num_classes)
        best = best or BestOfSubsets(split.num_classes, sizes_up_to(len(preds)))
        best.update(runs, len(windows))
        votes = count_votes(runs, split.num_classes)
        said, right = said + votes.said, right + votes.right
        durations.update(preds, targets)
    assert best is not None
    return Measured(best.sizes, best.compute().mean(1), Votes(said, right), durations)


def sizes_up_to(num_samples: int) -> tuple[int, ...]:
    """Return the numbers of samples at which Top-1 MoC is told.

    >>> sizes_up_to(25), sizes_up_to(7)
    ((1, 2, 5, 10, 25), (1, 2, 5, 7))
    """
    return (*(size for size in SIZES if size < num_samples), num_samples)


def _methods(
    files: Sequence[DensePredictionsReader], split: LabelledSplit, options: Namespace
) -> Iterator[tuple[str, Forecast]]:
    methods = [file.attributes.get("method") for file in files]
    for file, method in zip(files, methods, strict=True):
        yield str(method if method and methods.count(method) == 1 else file.path), file.read
    trigram = TriGram.fit(split.transcripts, split.num_classes)
    for name, model in (("tri-gram", trigram), ("last-label", LastLabel())):

        def forecast(video: str, ratio: float, model: Any = model) -> np.ndarray:
            labels = split.videos[video]
            past, end = evaluation_window(len(labels), ratio, PRED_RATIOS[-1])
            generator = baseline_generator(options.seed, video)
            return model.forecast(labels[:past], end, options.samples, generator)

        yield f"{name} ({TRUTH})", forecast


def _common_videos(
    files: Sequence[DensePredictionsReader],
    store: DenseStore,
    split: LabelledSplit,
    ratios: Sequence[float],
    allow_missing: bool,
) -> list[str]:
    """Return the test videos, or those that all files have; every file is checked whole.

    Raises:
        ConfigError: Files of different observation ratios.
        DataError: Predictions are missing or cannot be scored.
    """
    every = list(split.videos)
    for file in files:
        if file.obs_ratios != ratios:
            raise ConfigError(
                f"{file.path} observes {list(file.obs_ratios)} of a video, {files[0].path} "
                f"{list(ratios)}: give files of equal observation ratios"
            )
        score_dense(file, store, every, allow_missing)
    videos = [v for v in every if all(file.has(v, r) for file in files for r in ratios)]
    if not videos:
        raise ConfigError("no test video is in all predictions files; score them one by one")
    return videos


def futures_table(title: str, measured: Methods) -> Table:
    """Return a row per method, means over the observation ratios."""
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("method")
    documents = {
        name: [one.document() for one in by_ratio.values()] for name, by_ratio in measured.items()
    }
    sizes = sorted({int(n) for one in documents.values() for n in one[0]["top1_moc_by_samples"]})
    numbers = {
        "calibration_error": ("ECE", 3),
        "calibration_error_of_samples": ("of samples", 3),
        "duration_distance": ("durations", 2),
        "segments": ("segments", 2),
        "true_segments": ("true", 2),
    }
    headings = [heading for heading, _ in numbers.values()]
    for heading in (*(f"Top-1 of {size}" for size in sizes), *headings):
        table.add_column(heading, justify="right")
    for name, rows in documents.items():
        top1 = [[row["top1_moc_by_samples"].get(str(size), NAN) for row in rows] for size in sizes]
        cells = [_number(values, 1) for values in top1]
        cells += [_number([row[key] for row in rows], n) for key, (_, n) in numbers.items()]
        table.add_row(name, *cells)
    table.caption = (
        "means over the observation ratios; ECE: calibration error, and that of the samples about "
        "each other; durations: distance of log durations; segments of a future, and of a true one"
    )
    return table


def _number(values: Sequence[float], decimals: int) -> str:
    """Write a mean; a dash where there is nothing to measure."""
    mean = fmean(values)
    return "-" if mean != mean else f"{mean:.{decimals}f}"


def write_figures(folder: Path, measured: Methods, title: str, fps: float, note: str) -> None:
    """Draw how Top-1 MoC grows, the reliability and the durations.

    Args:
        folder: Where to; made if it does not exist.
        measured: What was measured.
        title: What the data are.
        fps: Frames per second.
        note: Caveat to print in the corner.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ratios = list(next(iter(measured.values())))
    growth, reliability = (
        [panel(ratio, {name: by[ratio] for name, by in measured.items()}) for ratio in ratios]
        for panel in (_growth, _reliability)
    )
    realism = _realism({name: by[ratios[0]] for name, by in measured.items()}, fps)
    for name, panels, what in (
        ("top1_by_samples", growth, "Top-1 MoC by number of samples"),
        ("reliability", reliability, "share of the samples and frequency of being right"),
        ("durations", realism, f"segments of futures after {ratios[0]} of a video"),
    ):
        save_figure(curves_figure(panels, f"{title}: {what}", note), folder, name)


def _growth(ratio: float, methods: Mapping[str, Measured]) -> CurvesPanel:
    curves = {name: np.stack([one.sizes, one.top1], 1) for name, one in methods.items()}
    ticks = sorted({size for one in methods.values() for size in one.sizes})
    return CurvesPanel(f"samples, {ratio} observed", "Top-1 MoC (%)", curves, ticks)


def _reliability(ratio: float, methods: Mapping[str, Measured]) -> CurvesPanel:
    curves = {
        name: np.stack([one.votes.shares, one.votes.frequencies], 1)
        for name, one in methods.items()
    }
    label = f"share of the samples, {ratio} observed"
    return CurvesPanel(label, "frequency of being right", curves, diagonal=True)


def _realism(methods: Mapping[str, Measured], fps: float) -> list[CurvesPanel]:
    some = next(iter(methods.values())).durations
    lengths = {name: one.durations.sampled for name, one in methods.items()} | {TRUTH: some.true}
    numbers = {name: one.durations.num_sampled for name, one in methods.items()}
    seconds = np.geomspace(SEGMENT_SECONDS[0], SEGMENT_SECONDS[-1], 60)
    counts = np.arange(1, MOST_DRAWN + 1)
    return [
        CurvesPanel(
            "duration of a segment (s)",
            "share that is shorter",
            {
                name: np.stack([seconds, [(frames <= fps * t).mean() for t in seconds]], 1)
                for name, frames in lengths.items()
            },
            SEGMENT_SECONDS,
            marked=False,
        ),
        CurvesPanel(
            "segments of a future",
            "share of the futures",
            {
                name: np.stack([counts, [(found == n).mean() for n in counts]], 1)
                for name, found in (numbers | {TRUTH: some.num_true}).items()
            },
        ),
    ]
