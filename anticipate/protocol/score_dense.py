"""`anticipate score dense`: scores of forecasts over long videos."""

from argparse import Namespace
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from rich.console import Console

from anticipate.console import CommandParser, name_some, notice, print_json
from anticipate.datasets.file.dense_file import DenseStore
from anticipate.errors import DataError
from anticipate.horizons import evaluation_window, ratio_name
from anticipate.protocol.dense_predictions import DensePredictionsReader
from anticipate.protocol.dense_scores import PRED_RATIOS, DenseScores
from anticipate.protocol.dense_table import measure_table
from anticipate.types import NO_LABEL

Problems = dict[str, list[str]]
"""Videos (with what was found) by what is wrong with them."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the options of `anticipate score dense`."""
    parser.add_argument("predictions", metavar="PREDICTIONS.h5", help="groups <video>/obs_<ratio>")
    parser.add_argument("--data", required=True, metavar="FILE.h5", help="the prepared data file")
    parser.add_argument(
        "--split", metavar="N", help="score the test videos of split N (all inside)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--allow-missing", action="store_true", help="score what is there when videos are missing"
    )


def run(options: Namespace) -> None:
    """Score a predictions file and print the result."""
    with (
        DensePredictionsReader(options.predictions) as predictions,
        DenseStore(options.data) as store,
    ):
        if store.synthetic:
            notice(f"{options.data}: synthetic features")
        video_ids = videos_to_score(predictions, store, options.split)
        scores = score_dense(predictions, store, video_ids, options.allow_missing)
        if options.json:
            print_json(scores)
        else:
            title = f"{store.dataset}, {predictions.path.name}"
            Console().print(measure_table(title, scores, store.synthetic))


def videos_to_score(
    predictions: DensePredictionsReader, store: DenseStore, split: str | None
) -> tuple[str, ...]:
    """Return the test videos of a split, or every video of the predictions file without one.

    Raises:
        ConfigError: The data file has no such split.
        DataError: The predictions file holds a video that the data file does not know.
    """
    unknown = sorted(set(predictions.video_ids) - set(store.video_ids))
    _fail(predictions, {f"not in {store.path}, so from another release": unknown})
    if split is None:
        return predictions.video_ids
    video_ids = store.split(split, "test")
    num_others = len(set(predictions.video_ids) - set(video_ids))
    if num_others:
        notice(f"{predictions.path}: {num_others} videos outside the test part of split {split}")
    return video_ids


def score_dense(
    predictions: DensePredictionsReader,
    store: DenseStore,
    video_ids: Sequence[str],
    allow_missing: bool = False,
) -> dict[str, dict[str, Any]]:
    """Score videos at every observation ratio of a predictions file.

    Args:
        predictions: The sampled futures.
        store: The data file with the labels.
        video_ids: The videos to score.
        allow_missing: Leave out videos without predictions, with a notice, instead of failing.

    Returns:
        What `DenseScores.compute` returns, by written observation ratio ("0.2").

    Raises:
        DataError: Predictions are missing or cannot be scored; the message lists the videos.
    """
    problems: Problems = defaultdict(list)
    metrics = {}
    for obs_ratio in predictions.obs_ratios:
        present = [v for v in video_ids if predictions.has(v, obs_ratio)]
        absent = [v for v in video_ids if not predictions.has(v, obs_ratio)]
        name = ratio_name(obs_ratio)
        if not (allow_missing and present):
            problems[f"without obs_{name} (add them, or use --allow-missing)"] = absent
        elif absent:
            notice(f"obs_{name}: scored {len(present)} of {len(video_ids)} videos")
        metrics[name] = _count(predictions, store, present, obs_ratio, problems)
    _fail(predictions, problems)
    return {name: metric.compute() for name, metric in metrics.items()}


def _count(
    predictions: DensePredictionsReader,
    store: DenseStore,
    video_ids: Sequence[str],
    obs_ratio: float,
    problems: Problems,
) -> DenseScores:
    """Count all videos of one observation ratio; note those that cannot be counted."""
    metric = DenseScores(store.num_classes, obs_ratio)
    num_samples = None
    for video_id in video_ids:
        preds, targets = predictions.read(video_id, obs_ratio), store.labels(video_id)
        _, end = evaluation_window(len(targets), obs_ratio, PRED_RATIOS[-1])
        problem = _problem(preds, end, store.num_classes, num_samples)
        if problem is None:
            num_samples = len(preds)
            metric.update(torch.from_numpy(preds.astype(np.int64)), torch.from_numpy(targets))
        else:
            expected, found = problem
            problems[f"with obs_{ratio_name(obs_ratio)} {expected}"].append(f"{video_id} ({found})")
    return metric


def _problem(
    preds: np.ndarray, num_frames: int, num_classes: int, num_samples: int | None
) -> tuple[str, str] | None:
    """Return what is wrong with the predictions of one video, and what was found."""
    if preds.ndim != 2 or not preds.size:
        return "not of shape (num_samples, num_frames)", f"shape {preds.shape}"
    if preds.dtype.kind not in "iu":
        return "not integers", str(preds.dtype)
    if preds.shape[1] < num_frames:
        return "too short for the longest horizon", f"{preds.shape[1]} frames, needs {num_frames}"
    classes = preds[preds != NO_LABEL]
    if classes.size and not 0 <= classes.min() <= classes.max() < num_classes:
        return f"class ids outside 0..{num_classes - 1}", f"{classes.min()}..{classes.max()}"
    if num_samples not in (None, len(preds)):
        return f"not of {num_samples} samples like the first video", f"{len(preds)} samples"
    return None


def _fail(predictions: DensePredictionsReader, problems: Problems) -> None:
    """Raise one error for all problems, or return when there are none."""
    lines = []
    for what, videos in problems.items():
        if videos:
            count = f"{len(videos)} video{'s' if len(videos) > 1 else ''}"
            lines.append(f"{count} {what}: {name_some(videos)}")
    if lines:
        raise DataError(f"{predictions.path}: {'; '.join(lines)}")
