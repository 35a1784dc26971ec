"""`anticipate report` as users run it: which files, what is on the page, what is refused."""

import csv
import json
import re
from html.parser import HTMLParser

import pytest

from anticipate.cli import main
from anticipate.lab.studies import studies

PNG, SVG = b"\x89PNG", b"<?xml"


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("href", "src")]


@pytest.fixture
def report(tmp_path, capsys):
    """Write a report on `runs`; returns its folder and the page."""

    def write():
        output = tmp_path / "out" / "report"
        main(["report", str(tmp_path / "runs"), "--output", str(output)])
        return output, (output / "index.html").read_text()

    return write


def rows(path):
    with path.open() as file:
        return list(csv.reader(file))


def test_a_report_has_every_file_its_page_links_to_and_needs_no_network(make_run, draw, report):
    for seed in (0, 1, 2):
        make_run("mixant", 54 + 0.1 * seed, seed=seed)
        for number, experts in enumerate("12345"):
            folder = make_run(f"experts/{experts}", 50 + number + 0.2 * seed % 0.3, seed=seed)
            draw(folder)
        draw(make_run("experts/manta", 50, seed=seed, method="MANTA"))
    make_run("aga", 17, kind="short_term")
    output, page = report()
    links = Links()
    links.feed(page)
    pictures = [link for link in links.found if link.startswith("data:image/png;base64,")]
    assert len(pictures) == len([*(output / "figures").glob("*.png")])
    local = [link for link in links.found if not link.startswith("#") and link not in pictures]
    assert local
    assert not [link for link in local if link.startswith(("http", "//", "/"))]
    assert all((output / link).is_file() for link in local)
    anchors = {link[1:] for link in links.found if link.startswith("#")}
    assert anchors <= set(re.findall(r'id="([^"]+)"', page))
    for picture in (output / "figures").iterdir():
        start = PNG if picture.suffix == ".png" else SVG
        assert picture.read_bytes().startswith(start), picture
    assert "url(" not in page
    assert "<script" not in page


def test_scores_are_averaged_and_stand_beside_published_ones(make_run, report):
    for split, score in ((1, 40.0), (2, 50.0)):
        make_run("mixant", score, split=split)
    output, page = report()
    table = rows(output / "tables" / "breakfast_real_top1_moc.csv")
    ours = next(row for row in table if row[0] == "MixANT (mixant)")
    assert ours[1] == "2 splits, 1 seed"
    assert ours[-1] == "45.0 ± 7.1"
    paper = next(row for row in table if row[0] == "MixANT")
    assert (paper[1], paper[-1]) == ("MixANT Tab. 1", "53.5")
    assert "Synthetic features" not in page


def test_every_system_is_a_row_of_the_papers_tables_and_one_future_has_no_top1(make_run, report):
    make_run("experts/1", 41.0, method="MANTA")
    make_run("systems/mixant", 50.0)
    make_run("systems/manta", 45.0, method="MANTA")
    make_run("systems/futr", 60.0, method="FUTR", one_future=True)
    output, _ = report()
    mean, top1 = (
        {row[0]: row for row in rows(output / "tables" / f"breakfast_real_{measure}.csv")}
        for measure in ("mean_moc", "top1_moc")
    )
    ours = ["MANTA (experts/1)", "MixANT (systems/mixant)", "MANTA (systems/manta)"]
    assert [*mean][1:6] == [*ours, "FUTR (systems/futr)", "baseline"]
    assert {"MixANT", "MANTA", "FUTR"} <= mean.keys()  # the published rows
    assert (mean["FUTR (systems/futr)"][-1], top1["FUTR (systems/futr)"][-1]) == ("35.0", "-")
    costs = rows(output / "tables" / "breakfast_real_costs.csv")
    measured = next(row for row in costs if row[0] == "systems/mixant")
    paper = next(row for row in costs if row[:2] == ["MixANT Tab. 3", "MixANT"])
    assert (measured[2], measured[7]) == ("1.600", "50.0")
    assert (paper[2], paper[3], paper[4], paper[7]) == ("1.6", "10.9", "1.7", "54.1")
    claims = {row[0]: row for row in rows(output / "tables" / "breakfast_real_claims.csv")}
    assert claims["MixANT beats MANTA in Mean MoC in all settings"][4] == "one common run: agrees"
    assert claims["MixANT beats FUTR in Mean MoC in all settings"][4] == "one common run: disagrees"
    assert claims["MixANT beats GTDA in Mean MoC in all settings"][4] == "not measured"


def test_synthetic_runs_are_marked_and_have_no_published_neighbours(make_run, report):
    make_run("mixant", 40.0)
    make_run("mixant_made_up", 90.0, synthetic=True)
    output, page = report()
    synthetic = rows(output / "tables" / "breakfast_synthetic_top1_moc.csv")
    assert [row[0] for row in synthetic[1:]] == ["MixANT (mixant_made_up)", "baseline"]
    real = rows(output / "tables" / "breakfast_real_top1_moc.csv")
    assert "MixANT (mixant_made_up)" not in [row[0] for row in real]
    assert "are never in one table with real ones" in page


def test_runs_that_were_scored_on_a_part_are_named(make_run, report):
    make_run("whole")
    assert "Scored on a part" not in report()[1]
    make_run("small", scored_part="3 of 10 test videos")
    _, page = report()
    assert "not by the whole protocol: 3 of 10 test videos (small)." in page


def test_claims_missing_studies_and_skipped_runs_are_told(
    make_run, same_as, report, capsys, tmp_path
):
    make_run("router/unified", 50.0)
    make_run("router/independent", 45.0)
    (make_run("broken") / "metrics.json").write_text("{")
    output, page = report()
    claims = rows(output / "tables" / "breakfast_real_claims.csv")
    assert [row[4] for row in claims[1:]] == ["one common run: agrees"]
    assert "50.0 against 45.0" in claims[1][3]
    for study in studies():
        assert (f"<li>{study.name}:" in page) == (study.name != "router")
    assert "metrics.json is not JSON" in page
    error = capsys.readouterr().err
    assert "left out: " in error
    assert "broken" in error


def test_two_reports_of_the_same_runs_are_the_same(make_run, draw, report):
    draw(make_run("balancing/none", 50.0), largest=0.5)
    output, page = report()
    before = {path: path.read_bytes() for path in output.rglob("*.*")}
    assert report()[1] == page
    assert {path: path.read_bytes() for path in output.rglob("*.*")} == before


def test_a_timeline_shows_two_samples_of_each_method(make_run, draw, report):
    draw(make_run("mixant"))
    draw(make_run("experts/1", method="MANTA"))
    output, _ = report()
    (svg,) = (output / "figures").glob("*timeline*.svg")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg.read_text())
    wanted = ["ground truth", "MixANT, 1", "MixANT, 2", "MANTA, 1", "MANTA, 2"]
    assert [text for text in texts if text in wanted] == wanted


def test_runs_without_costs_or_main_scores_are_reported(make_run, report):
    folder = make_run("experts/2")
    content = json.loads((folder / "metrics.json").read_text())
    content["efficiency"] = None
    del content["scores"]["MixANT"]["0.3"]
    (folder / "metrics.json").write_text(json.dumps(content))
    output, page = report()
    costs = rows(output / "tables" / "breakfast_real_costs.csv")
    assert costs[1] == ["experts/2", "MixANT", *"-----"]
    assert "not measured" in page


@pytest.mark.parametrize(
    ("folder", "message"), [("nothing", "no folder"), ("", "no run folder found")]
)
def test_mistakes_are_one_line(tmp_path, capsys, folder, message):
    with pytest.raises(SystemExit) as exit_:
        main(["report", str(tmp_path / folder), "--output", str(tmp_path / "out")])
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(make_run, tmp_path, capsys):
    make_run("a")
    (tmp_path / "out").write_text("a file")
    with pytest.raises(SystemExit):
        main(["report", str(tmp_path / "runs"), "--output", str(tmp_path / "out")])
    assert "cannot be written" in capsys.readouterr().err
