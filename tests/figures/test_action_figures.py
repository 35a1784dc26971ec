"""Pictures of AGA show the numbers that they are given."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from anticipate.figures.actions_figure import matrices_figure, predecessors_figure
from anticipate.figures.counterfactual_figure import (
    ENTERED_COLOR,
    KEPT_COLOR,
    LEFT_COLOR,
    SHOWN_COLOR,
    StepChange,
    counterfactual_figure,
)
from anticipate.figures.gate_figure import gate_figure


def colors(axes):
    return [bar.get_facecolor()[:3] for bar in axes.patches]


def test_bars_are_ordered_by_attention():
    attention, frequency = np.array([0.2, 0.5, 0.3]), np.array([0.6, 0.4, 0.0])
    (axes,) = predecessors_figure(("a", "b", "c"), attention, frequency, "title").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "c", "a"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([50, 30, 20, 40, 0, 60])


def test_bars_without_a_frequency_are_those_of_the_network_alone():
    (axes,) = predecessors_figure(("a", "b"), np.array([0.2, 0.8]), None, "title").axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([80, 20])


def test_each_matrix_has_a_panel_with_the_names_of_the_actions():
    panels = {"one": np.eye(3), "two": np.full((3, 3), 1 / 3)}
    first, second, *_ = matrices_figure(panels, ("a", "b", "c"), "title").axes
    for axes, (name, shares) in zip((first, second), panels.items(), strict=True):
        assert axes.get_title() == name
        np.testing.assert_array_equal(axes.images[0].get_array(), shares)
        assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]


def test_changed_entries_stand_out():
    before, after = [("a", 0.6), ("b", 0.4)], [("c", 0.7), ("a", 0.3)]
    figure = counterfactual_figure(
        np.array([-3.0, -2.0]),
        np.array([0.1, 0.9]),
        [1],
        [StepChange("-2 s", before, after), StepChange("next", before, after)],
        "c",
        "title",
        "note",
    )
    steps, original, counterfactual, *_ = figure.axes
    assert [bar.get_height() for bar in steps.patches] == [0.1, 0.9]
    assert colors(steps)[1] == to_rgb(SHOWN_COLOR)
    assert colors(original) == [to_rgb(KEPT_COLOR), to_rgb(LEFT_COLOR)]
    assert colors(counterfactual) == [to_rgb(ENTERED_COLOR), to_rgb(KEPT_COLOR)]
    assert [text.get_fontweight() for text in counterfactual.texts] == ["bold", "normal"]
    assert [text.get_text() for text in figure.texts if text.get_gid() == "note"] == ["note"]


def test_actions_too_short_for_a_name_are_drawn_all_the_same():
    times, quantiles = np.arange(5.0), np.tile(np.linspace(0.3, 0.7, 5), (5, 1))
    actions = [("take pan", -1.0, 2.0), ("put pan", 3.0, 3.01)]
    curve, strip = gate_figure(times, quantiles[:, 2], quantiles, actions, "title").axes
    np.testing.assert_array_equal(curve.lines[0].get_ydata(), quantiles[:, 2])
    assert len(strip.collections) == 2
    (name,) = strip.texts
    assert (name.get_text(), name.get_position()[0]) == ("take pan", 1.0)
    assert [line.get_xdata()[0] for line in strip.lines] == [-1.0, 3.0]


def test_a_gate_with_one_weight_has_no_bands_to_explain():
    times, weight = np.arange(3.0), np.array([0.2, 0.4, 0.9])
    curve, _ = gate_figure(times, weight, np.tile(weight[:, None], 5), [], "title").axes
    assert curve.get_title(loc="right") == ""
