"""Both baselines on the real Breakfast labels, observed as annotated, through the real metrics."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from anticipate.horizons import evaluation_window
from anticipate.protocol.dense_baselines import LastLabel, TriGram
from anticipate.protocol.dense_scores import PRED_RATIOS, DenseScores
from anticipate.segments import Segments

FOLDER = os.environ.get("ANTICIPATE_LABELS")
NUM_CLASSES = 48
LAST_LABEL_MEAN_MOC = {"0.1": 61.7900, "0.2": 52.3009, "0.3": 46.5192, "0.5": 39.5342}
"""Split 1, observed to 0.2; counted with dictionaries of class names in a loop over the files."""

pytestmark = [
    pytest.mark.labels,
    pytest.mark.skipif(FOLDER is None, reason="ANTICIPATE_LABELS names no folder of label files"),
]


@pytest.fixture(scope="module")
def breakfast(tmp_path_factory):
    """Frame labels of the training and test videos of split 1."""
    folder = tmp_path_factory.mktemp("labels")
    with tarfile.open(Path(FOLDER) / "breakfast.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    root = folder / "breakfast"
    rows = [line.split() for line in (root / "mapping.txt").read_text().splitlines()]
    ids = {name: int(number) for number, name in rows}
    return {
        part: [
            np.array([ids[name] for name in (root / "groundTruth" / file).read_text().split()])
            for file in (root / "splits" / f"{part}.split1.bundle").read_text().split()
        ]
        for part in ("train", "test")
    }


def scores(model, videos, obs_ratio, num_samples, seed):
    generator = np.random.default_rng(seed)
    metric = DenseScores(NUM_CLASSES, obs_ratio)
    for labels in videos:
        observed = labels[: int(obs_ratio * len(labels))]
        _, end = evaluation_window(len(labels), obs_ratio, PRED_RATIOS[-1])
        preds = model.forecast(observed, end, num_samples, generator)
        metric.update(torch.from_numpy(preds), torch.from_numpy(labels))
    return metric.compute()


@pytest.mark.parametrize("obs_ratio", [0.2, 0.3])
def test_repeating_the_last_label_beats_the_sampled_trigram_on_mean_moc(breakfast, obs_ratio):
    transcripts = [Segments.from_frames(labels) for labels in breakfast["train"]]
    trigram = TriGram.fit(transcripts, NUM_CLASSES)
    sampled = scores(trigram, breakfast["test"], obs_ratio, num_samples=25, seed=0)
    repeated = scores(LastLabel(), breakfast["test"], obs_ratio, num_samples=1, seed=0)
    assert repeated["num_videos"] == sampled["num_videos"] == 252
    assert repeated["mean_moc"] == repeated["top1_moc"]  # one sample is its own best
    for pred_ratio in map(str, PRED_RATIOS):
        assert repeated["mean_moc"][pred_ratio] > sampled["mean_moc"][pred_ratio] + 4
        assert sampled["top1_moc"][pred_ratio] > sampled["mean_moc"][pred_ratio] + 20


def test_last_label_on_split_1_gives_the_recorded_scores(breakfast):
    mean_moc = scores(LastLabel(), breakfast["test"], 0.2, 1, 0)["mean_moc"]
    assert mean_moc == pytest.approx(LAST_LABEL_MEAN_MOC, abs=5e-4)
