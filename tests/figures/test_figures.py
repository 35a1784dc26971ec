"""Structure of the figures: what is drawn where, in which colour, and that nothing overlaps."""

import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection

from anticipate.figures.palette import class_colors
from anticipate.figures.timeline_figure import timeline_figure
from anticipate.figures.usage_figure import usage_figure
from anticipate.types import NO_LABEL

CLASSES = ("SIL", *(f"do_thing_{number}" for number in range(1, 48)))
TRUTH = np.repeat([0, 3, 5, 3], [10, 20, 30, 40])
ROWS = {
    "ground truth": TRUTH,
    "sample 1": np.repeat([0, 3, 7], [10, 20, 70]),
    "sample 2": np.repeat([0, 3, 5], [10, 20, 70]),
}


def draw(rows=ROWS, title="video", note="", observed_frames=20, fps=10):
    figure = timeline_figure(rows, observed_frames, CLASSES, fps, title, note)
    FigureCanvasAgg(figure).draw()
    return figure


def bars(figure):
    """Return the collection of each row's bar, without the veil over its observed part."""
    collections = figure.axes[0].collections
    return [c for c in collections if isinstance(c, PolyCollection) and c.get_alpha() is None]


def texts(figure):
    return [text.get_text() for text in [*figure.texts, *figure.axes[0].texts]]


def test_every_segment_is_one_bar_from_its_first_frame_to_its_last():
    drawn = bars(draw())
    assert [len(bar.get_paths()) for bar in drawn] == [4, 3, 3]
    edges = [path.get_extents().intervalx.tolist() for path in drawn[0].get_paths()]
    np.testing.assert_allclose(edges, [[0, 1], [1, 3], [3, 6], [6, 10]])
    heights = [bar.get_paths()[0].get_extents().intervaly.mean() for bar in drawn]
    np.testing.assert_allclose(heights, [0, 1, 2], atol=1e-12)


def test_bars_and_legend_use_the_colours_of_the_palette():
    figure, colors = draw(), class_colors(CLASSES)
    np.testing.assert_allclose(bars(figure)[0].get_facecolor()[:, :3], colors[[0, 3, 5, 3]])
    patches = figure.legends[0].get_patches()
    np.testing.assert_allclose([p.get_facecolor()[:3] for p in patches], colors[[0, 3, 5, 7]])


def test_the_legend_names_just_the_classes_that_occur_in_order_of_appearance():
    names = [text.get_text() for text in draw().legends[0].get_texts()]
    assert names == ["SIL", "do thing 3", "do thing 5", "do thing 7"]


def test_frames_without_a_class_are_a_gap():
    gap = np.where(np.arange(100) < 90, TRUTH, NO_LABEL)
    figure = draw({"ground truth": TRUTH, "sample": gap})
    assert bars(figure)[1].get_paths()[-1].get_extents().xmax == pytest.approx(9)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["SIL", "do thing 3", "do thing 5"]


def test_rows_are_named_from_the_truth_down():
    axes = draw().axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(ROWS)
    bottom, top = axes.get_ylim()
    assert bottom > top


def test_agreement_counts_future_frames_alone():
    # Of the 80 future frames the truth has 10 of class 3, 30 of 5 and 40 of 3; sample 1 is right
    # on the first 10, sample 2 on the first 40.
    assert [text for text in texts(draw()) if "%" in text] == ["12 %", "50 %"]


def test_a_shorter_forecast_is_judged_where_it_exists():
    rows = {"ground truth": TRUTH, "short": TRUTH[:50], "observed only": TRUTH[:20]}
    assert [text for text in texts(draw(rows)) if "%" in text] == ["100 %"]


def test_the_line_stands_where_the_observation_ends():
    figure = draw(observed_frames=25)
    (line,) = [c for c in figure.axes[0].collections if not isinstance(c, PolyCollection)]
    np.testing.assert_allclose(line.get_segments()[0][:, 0], 2.5)
    assert {"observed", "anticipated"} <= set(texts(figure))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(8, ["0:00", "0:01", "0:02"]), (100, ["0:00", "0:15", "0:30"]), (1800, ["0:00", "5:00"])],
)
def test_the_time_axis_counts_minutes_and_seconds(seconds, expected):
    figure = draw({"ground truth": np.repeat([0, 1], seconds * 5)})
    axis = figure.axes[0].xaxis
    shown = [place for place in axis.get_majorticklocs() if 0 <= place <= seconds]
    labels = [axis.get_major_formatter()(place) for place in shown]
    assert labels[: len(expected)] == expected
    assert len(labels) <= 9


@pytest.mark.parametrize("title_length", [5, 60, 95, 140])
def test_title_note_and_legend_stay_apart_and_inside(title_length):
    rows = {"ground truth": np.arange(48).repeat(4), "sample 1": np.arange(48).repeat(4)[::-1]}
    figure = draw(rows, "x0_" * (title_length // 3), "synthetic features")
    (note,) = figure.findobj(lambda artist: artist.get_gid() == "note")
    assert note.get_text() == "synthetic features"
    boxes = [figure._suptitle, note, figure.legends[0]]
    title, corner, legend = (box.get_window_extent() for box in boxes)
    assert title.x1 < corner.x0
    axes = figure.axes[0].get_tightbbox()
    assert legend.y1 < axes.y0
    assert axes.y1 < min(title.y0, corner.y0) + 2
    for box in (title, corner, legend, axes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


def test_without_a_caveat_there_is_no_note():
    assert not draw().findobj(lambda artist: artist.get_gid() == "note")


def test_usage_shows_each_share_and_the_equal_one():
    usage = np.array([[[0.5, 0.25, 0.25, 0.0]], [[1.0, 0.0, 0.0, 0.0]]])
    figure = usage_figure(usage, "usage", "synthetic features")
    panel, bar = figure.axes
    assert [t.get_text() for t in panel.texts] == ["50", "25", "25", "0", "100", "0", "0", "0"]
    np.testing.assert_array_equal(panel.images[0].get_array(), usage[:, 0])
    assert panel.images[0].norm(0.25) == 0.5
    assert [t.get_text() for t in bar.get_yticklabels()] == ["0 %", "1/E = 25 %", "100 %"]
    assert "synthetic features" in [text.get_text() for text in figure.texts]


def test_independent_routers_get_a_panel_each():
    usage = np.random.default_rng(0).dirichlet(np.ones(5), size=(12, 2))
    figure = usage_figure(usage, "usage")
    panels = figure.axes[:2]
    assert [panel.get_title() for panel in panels] == ["forward scan", "backward scan"]
    for router, panel in enumerate(panels):
        np.testing.assert_array_equal(panel.images[0].get_array(), usage[:, router])


def test_no_global_figure_is_made():
    draw()
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()
