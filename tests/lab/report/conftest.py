"""Run folders as training leaves them, with made-up results."""

import json

import numpy as np
import pytest
import yaml

from anticipate.figures.saved import (
    TRUTH,
    ScoredVideos,
    Timeline,
    write_scored_videos,
    write_timeline,
    write_usage,
)
from anticipate.training.callbacks.run_files import write_metrics

HORIZONS = ("0.1", "0.2", "0.3", "0.5")


def dense_scores(score):
    """Scores of a method; Top-1 MoC at .3 / .5 is `score`, everything else follows from it."""
    return {
        obs: {
            "mean_moc": {pred: score - 20 - 10 * float(pred) for pred in HORIZONS},
            "top1_moc": {pred: score + 5 - 10 * float(pred) for pred in HORIZONS},
            "mof": {pred: score - 10 for pred in HORIZONS},
            "frame_diversity": {pred: 0.4 for pred in HORIZONS},
            "num_videos": 10,
            "num_samples": 25,
        }
        for obs in ("0.2", "0.3")
    }


def single(scores):
    """Those of one future in place of many."""
    none = dict.fromkeys(HORIZONS)
    return {
        obs: {**one, "top1_moc": one["mean_moc"], "frame_diversity": none, "num_samples": 1}
        for obs, one in scores.items()
    }


def short_term_scores(score):
    subsets = ("overall", "unseen", "tail", "seen")
    tasks = {"verb": score + 10, "noun": score + 5, "action": score}
    return {subset: dict(tasks) for subset in subsets} | {"num_scored": 100}


@pytest.fixture
def make_run(tmp_path):
    """Write the folder of one finished run below `runs` and return it."""

    def make(name, score=50.0, *, kind="dense", split=1, seed=0, method=None, **settings):
        folder = tmp_path / "runs" / name / f"split_{split}" / f"seed_{seed}"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump({"run_name": name}))
        method = method or ("MixANT" if kind == "dense" else "AGA")
        scores = dense_scores if kind == "dense" else short_term_scores
        result = scores(score)
        if settings.pop("one_future", False):
            result = single(result)
        efficiency = {
            "parameters": 1_600_000,
            "peak_memory_bytes": 2**30,
            "seconds_per_video": settings.pop("seconds", 0.5),
            "num_samples": 25,
            "device": "a small machine",
        }
        document = {
            "kind": kind,
            "dataset": "breakfast" if kind == "dense" else "ek100",
            "split": split,
            "seed": seed,
            "synthetic": False,
            "num_test_videos": 10,
            "checkpoint": "last.ckpt",
            "scores": {method: result, "baseline": scores(score / 2)},
            "efficiency": efficiency,
        }
        write_metrics(folder, document | settings)
        return folder

    return make


@pytest.fixture
def draw():
    """Put what a test draws into a run folder: a timeline and the use of experts."""

    def write(folder, largest=0.4, num_experts=5):
        figures = folder / "figures"
        figures.mkdir()
        rest = (1 - largest) / (num_experts - 1)
        usage = np.full((4, 1, num_experts), rest)
        usage[:, :, 1] = largest
        write_usage(figures, usage)
        write_timeline(figures, timeline())

    return write


@pytest.fixture
def count_videos():
    """Put the hits of six videos, two of them of a new participant, into a run folder."""

    def write(folder, seen=2, unseen=1, stage="test"):
        new = np.array([False, False, False, False, True, True]) & (stage == "test")
        rows = np.full((6, 5), 3)
        rows[:4, 4] = rows[4:, 3] = 0  # class 4 is of new participants alone, class 3 of the others
        hits = np.minimum(rows, np.where(new, unseen, seen)[:, None])
        people = ("P01", "P01", "P02", "P03", "P09" if stage == "test" else "P03", "P09")
        (folder / "figures").mkdir(exist_ok=True)
        methods = {"AGA": {"action": hits}, "frequency prior": {"action": 0 * hits}}
        scored = ScoredVideos(people, new, {"action": rows}, methods)
        write_scored_videos(folder / "figures", stage, scored)

    return write


def timeline(video_id="P03_cam01_P03_tea"):
    truth = np.repeat([0, 2, 1, 0], [40, 60, 80, 20])
    rows = {TRUTH: truth, "sample 1": np.roll(truth, 15), "sample 2": np.roll(truth, 40)}
    return Timeline(video_id, 0.3, 60, 15.0, ("SIL", "pour_water", "take_cup"), rows)


@pytest.fixture
def same_as():
    """Make a run folder that stands for another."""

    def write(root, name, target, split=1, seed=0):
        folder = root / name / f"split_{split}" / f"seed_{seed}"
        folder.mkdir(parents=True)
        (folder / "same_as.json").write_text(json.dumps({"same_as": target}))
        return folder

    return write
