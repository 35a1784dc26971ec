"""Figures are kept as JSON; what is damaged is named and left out."""

import json

import numpy as np
import pytest

from anticipate.figures.saved import (
    TRUTH,
    Timeline,
    read_timelines,
    read_usage,
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
