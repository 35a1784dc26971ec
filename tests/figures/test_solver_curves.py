"""Curves of the study of solvers: what is drawn where."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from anticipate.figures.solver_figure import Curve, solver_figure

CURVES = {
    "ddim": Curve(np.array([2, 10, 50]), np.array([[30.0, 50.0], [31.0, 52.0], [32.0, 53.0]])),
    "unipc": Curve(np.array([2, 10]), np.array([[31.0, 54.0], [32.0, 53.0]])),
    "unipc, trailing": Curve(np.array([2, 10]), np.array([[33.0, 54.0], [32.5, 53.5]])),
}


def draw(note=""):
    figure = solver_figure(CURVES, np.array([32.0, 53.0]), np.array([0.5, 2.0]), "title", note)
    FigureCanvasAgg(figure).draw()
    return figure


def test_each_panel_has_a_measure_of_every_solver_against_the_steps():
    for index, axes in enumerate(draw().axes):
        for line, (name, curve) in zip(axes.lines, CURVES.items(), strict=True):
            assert line.get_label() == name
            np.testing.assert_array_equal(line.get_xdata(), curve.steps)
            np.testing.assert_array_equal(line.get_ydata(), curve.scores[:, index])


def test_a_variant_has_the_colour_of_its_solver_and_a_broken_line():
    ddim, unipc, trailing = draw().axes[0].lines
    assert ddim.get_color() != unipc.get_color() == trailing.get_color()
    assert (unipc.get_linestyle(), trailing.get_linestyle()) == ("-", "--")


def test_the_band_is_the_noise_around_ddim_50():
    for axes, (low, high) in zip(draw().axes, [(31.5, 32.5), (51.0, 55.0)], strict=True):
        (band,) = axes.patches
        assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((low, high))


def test_every_number_of_steps_has_a_tick():
    axes = draw().axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "10", "50"]


def test_legend_and_note_stand_once():
    figure = draw("synthetic features")
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["DDIM-50 and its sampling noise", "ddim", "unipc", "unipc, trailing"]
    assert "synthetic features" in [text.get_text() for text in figure.texts]
    assert [text.get_text() for text in draw().texts] == ["title"]
