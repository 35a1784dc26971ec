"""Figures are kept as JSON; what is damaged is named and left out."""

import json

import numpy as np
import pytest

from anticipate.figures.saved import (
    TRUTH,
    ScoredVideos,
    Timeline,
    read_scored_videos,
    read_timelines,
    read_usage,
    write_scored_videos,
    write_timeline,
    write_usage,
)
from anticipate.types import NO_LABEL

ROWS = {TRUTH: np.array([0, 0, 2, 2, 2]), "sample 1": np.array([0, 2, 2, 2, NO_LABEL])}
TIMELINE = Timeline("P01_cam", 0.2, 1, 15.0, ("a", "b", "c"), ROWS)


def test_what_is_written_is_read(tmp_path):
    write_timeline(tmp_path, TIMELINE)
    write_usage(tmp_path, np.array([[[0.25, 0.75]]]))
    (found,) = read_timelines(tmp_path)
    assert found[:4] == TIMELINE[:4]
    assert {name: row.tolist() for name, row in found.rows.items()} == {
        name: row.tolist() for name, row in ROWS.items()
    }
    assert read_usage(tmp_path).tolist() == [[[0.25, 0.75]]]


@pytest.mark.parametrize(
    "change",
    [
        {"observed_frames": {}},
        {"fps": "fast"},
        {"rows": {TRUTH: [[0]]}},
        {"classes": None},
        {"num_classes": "three"},
    ],
)
def test_a_damaged_timeline_is_named_and_left_out(tmp_path, capsys, change):
    write_timeline(tmp_path, TIMELINE)
    (path,) = tmp_path.glob("timeline_*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert read_timelines(tmp_path) == []
    assert f"{path}: left out, as it is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("text", ['{"usa', "{}", '{"usage": [0.5]}', '{"usage": "x"}'])
def test_a_damaged_usage_is_named_and_left_out(tmp_path, capsys, text):
    (tmp_path / "expert_usage.json").write_text(text)
    assert read_usage(tmp_path) is None
    assert "expert_usage.json: left out, as it is damaged" in capsys.readouterr().err


def test_scored_videos_survive_the_file(tmp_path):
    random = np.random.default_rng(0)
    sizes = {"verb": 5, "action": 9}
    rows = {task: random.integers(0, 3, size=(4, size)) for task, size in sizes.items()}
    hits = {
        method: {task: random.integers(0, counts + 1) for task, counts in rows.items()}
        for method in ("AVT", "frequency prior")
    }
    unseen = np.array([False, True, False, False])
    scored = ScoredVideos(("P01", "P02", "P01", "P03"), unseen, rows, hits)
    write_scored_videos(tmp_path, "test", scored)
    assert read_scored_videos(tmp_path, "val") is None
    found = read_scored_videos(tmp_path, "test")
    assert (found.participants, found.unseen.tolist()) == (scored.participants, unseen.tolist())
    for task, counts in rows.items():
        np.testing.assert_array_equal(found.rows[task], counts)
        for method in hits:
            np.testing.assert_array_equal(found.hits[method][task], hits[method][task])
    (tmp_path / "scored_videos_test.json").write_text("{}")
    assert read_scored_videos(tmp_path, "test") is None
