"""Tables: every number in its column, open cells where a method has none."""

import io
import math

import pytest
from rich.console import Console

from anticipate.protocol.dense_table import horizon_table, measure_table
from anticipate.protocol.measures import DENSE_MEASURES

PRED_RATIOS = ("0.1", "0.2", "0.3", "0.5")


def scores(start, obs_ratios=("0.2", "0.3"), num_samples=25):
    """Numbers that tell their column: start + 10 per observation ratio + 1 per horizon."""
    return {
        obs: {
            measure: {p: start + 10 * row + col + 0.04 for col, p in enumerate(PRED_RATIOS)}
            for measure in DENSE_MEASURES
        }
        | {"num_videos": 252, "num_samples": num_samples}
        for row, obs in enumerate(obs_ratios)
    }


def numbers(start):
    """Return what a row of `scores(start)` shows."""
    return [f"{start + 10 * row + col}.0" for row in range(2) for col in range(4)]


def shown(table, width=100):
    output = io.StringIO()
    Console(file=output, width=width).print(table)
    return output.getvalue()


def cells(text, name):
    """Words of the line that starts with a name."""
    line = next(row for row in text.splitlines() if row.strip().startswith(name))
    return line.strip().removeprefix(name).split()


def test_rows_are_methods_and_columns_are_ratios_in_order():
    rows = {"mixant": scores(30), "last-label": scores(10, num_samples=1)}
    text = shown(horizon_table("breakfast, split 1", rows, "mean_moc"))
    assert "breakfast, split 1: Mean MoC (%)" in text
    assert "synthetic" not in text
    assert text.index("obs 0.2") < text.index("obs 0.3")
    assert cells(text, "method") == ["samples", *PRED_RATIOS, *PRED_RATIOS]
    assert cells(text, "mixant") == [
        "25",
        "30.0",
        "31.0",
        "32.0",
        "33.0",
        "40.0",
        "41.0",
        "42.0",
        "43.0",
    ]
    assert cells(text, "last-label") == [
        "1",
        "10.0",
        "11.0",
        "12.0",
        "13.0",
        "20.0",
        "21.0",
        "22.0",
        "23.0",
    ]


def test_synthetic_features_are_told_in_every_kind_of_table():
    rows = {"mixant": scores(30)}
    assert "synthetic features" in shown(horizon_table("breakfast", rows, "top1_moc", True))
    assert "synthetic features" in shown(measure_table("breakfast", rows["mixant"], True))


def test_what_a_method_lacks_and_what_cannot_be_measured_stays_open():
    partial = scores(10, obs_ratios=("0.3",))
    partial["0.3"]["mean_moc"]["0.2"] = math.nan
    partial["0.3"]["mean_moc"]["0.5"] = None
    text = shown(horizon_table("t", {"whole": scores(30), "partial": partial}, "mean_moc"))
    assert cells(text, "partial") == ["25", "-", "-", "-", "-", "10.0", "-", "12.0", "-"]


def test_one_method_shows_every_measure_and_diversity_with_three_decimals():
    text = shown(measure_table("p.h5", scores(0)))
    for name in ("Mean MoC (%)", "Top-1 MoC (%)", "MoF (%)"):
        assert cells(text, name)[:2] == ["0.0", "1.0"]
    assert cells(text, "Frame diversity")[:2] == ["0.040", "1.040"]
    assert "videos x samples: obs 0.2: 252 x 25, obs 0.3: 252 x 25" in text


@pytest.mark.parametrize("measure", ["mean_moc", "top1_moc", "mof"])
def test_a_table_of_the_papers_fits_80_columns(measure):
    rows = {"tri-gram (predicted labels)": scores(60), "last-label (predicted labels)": scores(60)}
    assert "…" not in shown(horizon_table("breakfast", rows, measure), width=80)
