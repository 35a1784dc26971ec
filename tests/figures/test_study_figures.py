"""Figures of studies: what stands where, and which setting is marked."""

import numpy as np
import pytest

from anticipate.figures.selection_figure import selection_figure
from anticipate.figures.study_figure import BLUE, Panel, study_figure


def series(*scores):
    return {("1", seed): score for seed, score in enumerate(scores)}


def means(axes, color=None):
    """Place and colour of the large marks."""
    found = [
        line
        for line in axes.get_lines()
        if (line.get_marker(), line.get_markersize()) == ("o", 6.0)
    ]
    return [line.get_xydata()[0].tolist() for line in found if color in (None, line.get_color())]


def test_numbers_are_an_axis_and_none_is_zero():
    points = {"none": series(50.0), "0.05": series(52.0, 54.0), "0.2": series(51.0)}
    figure = study_figure([Panel("score", points)], "Weight", "0.05", "a study", "synthetic")
    (axes,) = figure.axes
    assert means(axes) == [[0.0, 50.0], [0.05, 53.0], [0.2, 51.0]]
    assert means(axes, BLUE) == [[0.05, 53.0]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["none", "0.05", "0.2"]
    assert axes.get_xlabel() == "Weight"


def test_words_are_rows_from_top_to_bottom():
    points = {"unified": series(50.0), "independent": series(48.0)}
    panels = [Panel("Top-1", points), Panel("Mean", points)]
    figure = study_figure(panels, "Router", "unified", "a study")
    for axes, label in zip(figure.axes, ("Top-1", "Mean"), strict=True):
        assert means(axes) == [[50.0, 0.0], [48.0, 1.0]]
        assert axes.get_xlabel() == label
        assert axes.yaxis_inverted()


def test_a_setting_without_a_score_leaves_its_row_empty():
    few, all_ = {"a": series(1.0), "c": series(3.0)}, {"a": series(4.0), "b": series(5.0)}
    panels = [Panel("Top-1", few), Panel("Mean", {**all_, "c": series(6.0)})]
    top1, mean = study_figure(panels, "System", "a", "a study").axes
    assert means(top1) == [[1.0, 0.0], [3.0, 2.0]]
    assert means(mean) == [[4.0, 0.0], [5.0, 1.0], [6.0, 2.0]]
    assert [label.get_text() for label in top1.get_yticklabels()] == ["a", "b", "c"]


def test_every_run_and_its_spread_are_drawn():
    (axes,) = study_figure([Panel("s", {"1": series(4.0, 6.0)})], "a", "1", "t").axes
    (runs,) = [line for line in axes.get_lines() if len(line.get_xdata()) == 2]
    assert sorted(runs.get_ydata()) == [4.0, 6.0]
    (bar,) = axes.collections
    low, high = bar.get_segments()[0][:, 1]
    assert high - low == pytest.approx(2 * np.std([4.0, 6.0], ddof=1))


def test_a_point_per_video_and_a_colour_per_activity():
    plane = np.arange(10.0).reshape(5, 2)
    figure = selection_figure(plane, ["tea", "milk", "tea", "milk", "tea"], "t", "note")
    (axes,) = figure.axes
    drawn = {dots.get_label(): dots.get_offsets().tolist() for dots in axes.collections}
    assert drawn == {"milk": plane[1::2].tolist(), "tea": plane[::2].tolist()}
    colors = {tuple(dots.get_facecolor()[0]) for dots in axes.collections}
    assert len(colors) == 2
