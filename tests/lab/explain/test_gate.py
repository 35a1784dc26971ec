"""The gate shown is the gate of the forward pass, beside the actions of the annotation."""

import csv
import json

import numpy as np
import pytest
import torch

from anticipate.cli import main
from anticipate.datasets.file.segment_table import SegmentTable
from anticipate.errors import ConfigError
from anticipate.lab.explain.aga_run import load_aga
from anticipate.lab.explain.explain_gate import (
    QUANTILES,
    Span,
    after_boundary,
    find_clip,
    gate_course,
    shown_spans,
    video_segments,
)
from anticipate.nn import AGA


def tiny(gate):
    torch.manual_seed(0)
    return AGA(6, 4, hidden_dim=16, num_heads=2, queue_length=3, gate=gate).eval()


def table(starts, stops, actions):
    names = tuple(f"row_{number}" for number in range(len(starts)))
    columns = (np.array(column, np.int32) for column in (starts, stops, actions, actions, actions))
    return SegmentTable(names, ("video",) * len(starts), *columns)


@pytest.mark.parametrize("gate", ["elementwise", "scalar"])
def test_the_course_is_the_gate_of_a_forward_pass(gate):
    network, features = tiny(gate), torch.randn(7, 4)
    course = gate_course(network, features)
    with torch.inference_mode():
        trace = network.trace(features.unsqueeze(0))
    weights = trace.gate[0, 1:].numpy().astype(np.float64)
    np.testing.assert_allclose(course.mean, weights.mean(axis=1), rtol=1e-5)
    median = course.quantiles[:, QUANTILES.index(0.5)]
    np.testing.assert_allclose(median, np.median(weights, axis=1), rtol=1e-5)
    assert (np.diff(course.quantiles, axis=1) >= 0).all()
    assert course.expected.tolist() == trace.logits[0, 1:].argmax(dim=-1).tolist()


def test_looking_at_the_gate_leaves_the_network_as_it_was():
    network = tiny("elementwise")
    gate_course(network, torch.randn(3, 4))
    assert not network.fusion._forward_hooks


@pytest.mark.parametrize("gate", ["none", "history"])
def test_a_network_without_a_gate_is_refused(gate):
    with pytest.raises(ConfigError, match=f"no gate \\(gate: {gate}\\)"):
        gate_course(tiny(gate), torch.randn(3, 4))


def test_one_step_has_no_past_to_weigh():
    with pytest.raises(ConfigError, match="1 step"):
        gate_course(tiny("scalar"), torch.randn(1, 4))


def test_spans_are_the_labelled_runs_between_two_frames():
    segments = table([1, 21, 31, 70], [10, 40, 50, 90], [4, 2, 5, 3])
    assert shown_spans(segments, 6, 75, 10) == [
        Span(4, 0.6, 1.1),
        Span(2, 2.1, 3.1),
        Span(5, 3.1, 5.1),  # the later of two that overlap
        Span(3, 7.0, 7.6),  # goes on beyond what is shown
    ]
    assert shown_spans(table([1], [10], [-1]), 1, 10, 10) == []  # withheld
    assert shown_spans(table([], [], []), 1, 10, 10) == []


def test_a_step_comes_after_a_boundary_when_an_action_began_since_the_last_one():
    spans = [Span(0, 0.5, 1.0), Span(1, 2.5, 3.0), Span(2, 2.8, 3.0), Span(3, 5.0, 6.0)]
    after = after_boundary(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), spans)
    assert after.tolist() == [False, False, True, False, True]
    assert not after_boundary(np.array([1.0, 2.0]), []).any()


def test_the_clip_is_the_one_that_the_run_is_scored_on(aga_checkpoint, actions_file):
    run = load_aga(aga_checkpoint, actions_file)
    rows = run.data.test_dataset.rows
    clip = find_clip(run.data, rows.segment_ids[5])
    start = rows.starts[5]
    assert clip.times.tolist() == pytest.approx([start / 30 - back for back in (5, 4, 3, 2, 1)])
    assert clip.frames.tolist() == run.data.test_dataset.frames[5].tolist()
    segments = video_segments(run.data, clip.video_id)
    assert set(segments.video_ids) == {clip.video_id}
    assert clip.segment_id in segments.segment_ids


def test_the_command_writes_every_step_but_the_first(tmp_path, aga_checkpoint, actions_file):
    run = load_aga(aga_checkpoint, actions_file)
    segment_id = run.data.test_dataset.rows.segment_ids[5]
    files = ["--ckpt", str(aga_checkpoint), "--data", str(actions_file), "--output", str(tmp_path)]
    main(["explain", "gate", *files, "--clip", segment_id, "--num_steps", "8"])
    rows = list(csv.DictReader((tmp_path / f"gate_{segment_id}.csv").open()))
    document = json.loads((tmp_path / f"gate_{segment_id}.json").read_text())
    means = [float(row["mean"]) for row in rows]
    assert len(rows) == document["num_steps"] == 7
    assert document["mean"] == pytest.approx(np.mean(means))
    begun = [mean for mean, row in zip(means, rows, strict=True) if row["action_has_begun"] == "1"]
    assert document["mean_where_an_action_has_begun"] == pytest.approx(np.mean(begun))
    assert {row["expected"] for row in rows} <= set(run.data.vocabulary)
    assert (tmp_path / f"gate_{segment_id}.png").stat().st_size


def test_an_unknown_clip_is_one_line(capsys, tmp_path, aga_checkpoint, actions_file):
    files = ["--ckpt", str(aga_checkpoint), "--data", str(actions_file)]
    with pytest.raises(SystemExit):
        main(["explain", "gate", *files, "--output", str(tmp_path / "out"), "--clip", "P99"])
    assert "no clip 'P99'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
