"""The fall from seen to unseen participants in the report."""

import csv
import re

import pytest

from anticipate.cli import main


@pytest.fixture
def report(tmp_path):
    """Write a report; returns the table of participants, the texts of the figure, and the page."""

    def write():
        output = tmp_path / "report"
        main(["report", str(tmp_path / "runs"), "--output", str(output)])
        tables = list((output / "tables").glob("*participants.csv"))
        figures = list((output / "figures").glob("*participants.svg"))
        if not tables:
            assert not figures
            return None
        with tables[0].open() as file:
            rows = {row["system"]: row for row in csv.DictReader(file)}
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", figures[0].read_text())
        return rows, texts, (output / "index.html").read_text()

    return write


def test_falls_are_between_classes_that_both_groups_have(make_run, count_videos, report):
    count_videos(make_run("aga", kind="short_term"), seen=2, unseen=1)
    count_videos(make_run("avt", kind="short_term", method="AVT"), seen=3, unseen=3)
    rows, texts, page = report()
    # Each of the classes 0 to 2 has the same share of hits in every video, so nothing is in doubt.
    assert rows["AGA (aga)"] == {
        "system": "AGA (aga)",
        "action seen": "66.7 [66.7, 66.7]",
        "action unseen": "33.3 [33.3, 33.3]",
        "action seen to unseen": "33.3 [33.3, 33.3]",
    }
    assert rows["AVT (avt)"]["action seen to unseen"] == "0.0 [0.0, 0.0]"
    assert rows["frequency prior"]["action seen"] == "0.0 [0.0, 0.0]"
    assert {"AGA (aga)", "AVT (avt)", "frequency prior", "seen", "unseen"} <= set(texts)
    assert "held out" not in texts
    assert "only 1 unseen participants with labels (P09; 2 videos)" in page


def test_seeds_count_together_and_held_out_videos_are_a_group(make_run, count_videos, report):
    for seed, hits in ((0, 3), (1, 0)):
        folder = make_run("aga", kind="short_term", seed=seed)
        count_videos(folder, seen=hits, unseen=1)
        count_videos(folder, seen=3, stage="val")
    rows, texts, _ = report()
    row = rows["AGA (aga)"]
    assert row["action seen"].startswith("50.0 ")
    assert row["action held out"].startswith("100.0 ")
    assert row["action held out to seen"].startswith("50.0 ")
    assert rows["frequency prior"]["action held out"] == "-"
    assert "held out" in texts


def test_runs_that_counted_nothing_have_no_figure(make_run, report):
    make_run("aga", kind="short_term")
    assert report() is None
