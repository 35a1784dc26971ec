"""Panels of curves: what is drawn where."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from anticipate.figures.curves_figure import CurvesPanel, curves_figure

ONE, TWO = np.array([[1.0, 30.0], [10.0, 50.0]]), np.array([[1.0, 20.0], [100.0, 40.0]])


def draw(note=""):
    panels = [
        CurvesPanel("samples", "score", {"one": ONE, "two": TWO}, ticks=(1, 10, 100)),
        CurvesPanel("share", "frequency", {"two": TWO / 100}, diagonal=True),
    ]
    figure = curves_figure(panels, "title", note)
    FigureCanvasAgg(figure).draw()
    return figure


def test_a_curve_has_its_points_and_one_colour_in_all_panels():
    left, right = draw().axes
    np.testing.assert_array_equal(np.transpose(left.lines[1].get_data()), TWO)
    np.testing.assert_array_equal(np.transpose(right.lines[1].get_data()), TWO / 100)
    assert left.lines[1].get_color() == right.lines[1].get_color() != left.lines[0].get_color()
    np.testing.assert_array_equal(right.lines[0].get_data(), [[0, 1], [0, 1]])


def test_axes_and_legend_say_what_is_shown():
    figure = draw("note")
    left, right = figure.axes
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["1", "10", "100"]
    assert (right.get_xlabel(), right.get_ylabel()) == ("share", "frequency")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]
    assert "note" in [text.get_text() for text in figure.texts]


def test_many_curves_differ_in_colour_or_line():
    curves = {str(number): ONE + number for number in range(15)}
    figure = curves_figure([CurvesPanel("x", "y", curves)], "title")
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == 15
    assert figure.get_figheight() > draw().get_figheight()
