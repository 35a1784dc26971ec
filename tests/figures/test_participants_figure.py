"""Where the marks of the figure of participants stand."""

import numpy as np

from anticipate.figures.participants_figure import COLORS, GroupRecall, participants_figure


def drawn(axes, size):
    """Colour and places of the marks of one size."""
    lines = [line for line in axes.get_lines() if line.get_marker() in "oDs"]
    chosen = [line for line in lines if line.get_markersize() == size]
    return [(line.get_color(), list(line.get_xdata())) for line in chosen]


def test_marks_are_recalls_intervals_and_participants():
    groups = {
        "seen": GroupRecall(30.0, 25.0, 36.0, np.array([20.0, 41.0])),
        "unseen": GroupRecall(12.0, 9.0, 16.0, np.array([11.0])),
    }
    panels = {"verb": {"AGA": groups, "AVT": groups}, "action": {"AGA": groups, "AVT": groups}}
    figure = participants_figure(panels, "title", "synthetic features")
    for axes, task in zip(figure.axes, panels, strict=True):
        assert axes.get_xlabel() == f"{task} (%)"
        own = [(COLORS["seen"], [30.0]), (COLORS["unseen"], [12.0])]
        assert drawn(axes, 5.0) == own * 2
        people = [(COLORS["seen"], [20.0, 41.0]), (COLORS["unseen"], [11.0])]
        assert drawn(axes, 2.5) == people * 2
        whiskers = [line.get_xdata() for line in axes.get_lines() if line.get_marker() == "None"]
        assert [list(ends) for ends in whiskers] == [[25.0, 36.0], [9.0, 16.0]] * 2
        assert axes.yaxis_inverted()
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["AGA", "AVT"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["seen", "unseen"]
