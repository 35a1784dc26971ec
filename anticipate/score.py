"""`anticipate score`: score anybody's predictions file by the protocol of the data set."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from rich.console import Console

from anticipate.console import CommandParser, notice, print_json
from anticipate.data.store import FeatureStore
from anticipate.errors import DataError
from anticipate.metrics.dense import PRED_RATIOS, DenseScores
from anticipate.metrics.windows import evaluation_window, ratio_name
from anticipate.predictions import PredictionsReader
from anticipate.report.tables import MEASURES, horizon_table

NAMED_VIDEOS = 5
"""Offending videos that an error names; it counts the others."""


def main(argv: list[str]) -> None:
    """Run `anticipate score PROTOCOL ...`.

    Args:
        argv: The words of the command, `score` first.
    """
    options = _parser().parse_args(argv[1:])
    with PredictionsReader(options.predictions) as predictions, FeatureStore(options.data) as store:
        if store.synthetic:
            notice(f"{options.data}: synthetic features")
        video_ids = _videos_to_score(predictions, store, options.split)
        scores = score_dense(predictions, store, video_ids, options.allow_missing)
        if options.json:
            print_json(scores)
            return
        method = str(predictions.attributes.get("run", predictions.path.stem))
        for measure in MEASURES:
            title = f"{store.dataset}, {MEASURES[measure]}"
            Console().print(horizon_table(title, {method: scores}, measure, store.synthetic))


def score_dense(
    predictions: PredictionsReader,
    store: FeatureStore,
    video_ids: Sequence[str],
    allow_missing: bool = False,
) -> dict[str, dict[str, Any]]:
    """Score videos at every observation ratio of a predictions file.

    Args:
        predictions: The sampled futures.
        store: The data file with the labels.
        video_ids: The videos to score.
        allow_missing: Score the predictions that are there instead of failing on missing ones.

    Returns:
        The scores of `DenseScores.compute` by written observation ratio ("0.2").

    Raises:
        DataError: Videos are missing or unknown, or their predictions cannot be scored.
    """
    problems: dict[str, list[str]] = defaultdict(list)
    problems["not in the data file"] = [v for v in video_ids if v not in set(store.video_ids)]
    _fail(predictions, problems)
    scores = {}
    for obs_ratio in predictions.obs_ratios:
        present = [v for v in video_ids if predictions.has(v, obs_ratio)]
        _report_missing(predictions, video_ids, present, obs_ratio, allow_missing)
        scores[ratio_name(obs_ratio)] = _score_ratio(predictions, store, present, obs_ratio)
    return scores
