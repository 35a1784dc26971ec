"""Tables as files: every cell in its place, in every format."""

import csv
import io
from html.parser import HTMLParser

from anticipate.lab.report import published
from anticipate.lab.report.grid import Column, Grid, save, to_csv, to_latex, to_markdown
from anticipate.lab.report.report_page import template
from anticipate.lab.report.report_tables import published_tables

COLUMNS = (Column("obs 0.2", "0.1"), Column("obs 0.2", "0.5"), Column("", "time"))
ROWS = (("A & B", "1.0 ± 0.2", "2.0", "-"), ("<c>|d", "3.0", "4.0", "5_0%"))
GRID = Grid("name", "Scores", ("method",), COLUMNS, ROWS, "a note", rule=1)


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows, self.inside, self.classes = [], False, []

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
            self.classes.append(dict(attrs).get("class"))
        if tag in ("td", "th"):
            self.inside = True
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def test_csv_holds_the_cells_and_groups():
    rows = list(csv.reader(io.StringIO(to_csv(GRID))))
    assert rows == [["method", "obs 0.2 0.1", "obs 0.2 0.5", "time"], *map(list, ROWS)]


def test_markdown_has_as_many_cells_in_every_row():
    lines = [line for line in to_markdown(GRID).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {5}
    assert lines[2] == "| A & B | 1.0 ± 0.2 | 2.0 | - |"
    assert "a note" in to_markdown(GRID)


def test_latex_escapes_spans_groups_and_sets_rows_apart():
    text = to_latex(GRID)
    assert r" & \multicolumn{2}{c}{obs 0.2} &  \\" in text
    assert r"\cmidrule(lr){2-3}" in text
    assert r"A \& B & 1.0 $\pm$ 0.2 & 2.0 & - \\" in text
    assert r"5\_0\%" in text
    lines = text.splitlines()
    rule = lines.index(r"\midrule", lines.index(r"\midrule") + 1)
    assert lines[rule - 1].startswith("A ")
    assert lines[rule + 1].startswith("<c>")


def test_html_shows_the_cells_and_escapes_them():
    parser = Cells()
    parser.feed(template().render(runs=GRID))
    assert parser.rows[0] == ["", "obs 0.2", ""]
    assert parser.rows[1] == ["method", "0.1", "0.5", "time"]
    assert parser.rows[2:4] == [list(row) for row in ROWS]
    assert parser.classes[:4] == [None, None, None, "apart"]


def test_a_table_is_saved_in_every_format(tmp_path):
    save(GRID, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["name.csv", "name.md", "name.tex"]


def test_published_numbers_are_those_of_the_papers():
    # MixANT Tab. 1, first and last number of some rows; Sec. 5.1 repeats 36.2, 34.2, 60.7, 20.3.
    rows = {(row.source, row.method): row.values for row in published.dense("breakfast")}
    ours, manta = rows["MixANT Tab. 1", "MixANT"], rows["MixANT Tab. 1", "MANTA"]
    assert (ours["0.3/mean_moc/0.1"], manta["0.3/mean_moc/0.1"]) == (36.2, 34.2)
    assert (ours["0.3/top1_moc/0.1"], manta["0.3/top1_moc/0.1"]) == (60.7, 59.6)
    assert ours["0.3/top1_moc/0.5"] == 53.5  # also in Tab. 4
    assembly = {row.method: row.values for row in published.dense("assembly101")}
    assert assembly["MixANT"]["0.2/top1_moc/0.1"] == 20.3
    assert "0.2/top1_moc/0.1" not in rows["MixANT Tab. 1", "Tri-gram"]
    aga = {row.method: row.values for row in published.rows("ek100")}
    assert not any("TeSTra" in method for method in aga)  # its rows are of another protocol
    testra = {row.method: row.values for row in published.rows("ek100_testra")}
    assert testra["TeSTra short MixMamba"]["tail/action"] == 14.1
    assert aga["AGA (TSN, RGB)"] == {
        "overall/verb": 32.2,
        "overall/noun": 35.7,
        "overall/action": 17.5,
    }
    costs = {row.method: row.values for row in published.rows(published.EFFICIENCY)}
    gtda, manta = (costs[name]["efficiency/seconds_per_video"] for name in ("GTDA", "MANTA"))
    assert gtda / manta > 65  # "65.3 times faster"


def test_every_published_row_has_a_source_and_is_in_a_table():
    tables = published_tables()
    assert len({table.name for table in tables}) == len(tables)
    for table in tables:
        width = len(table.lead) + len(table.columns)
        assert all(len(row) == width and row[1] for row in table.rows), table.name
    sources = {row[1] for table in tables for row in table.rows}
    assert {f"MixANT Tab. {number}" for number in (1, 3, 4, 5)} | {"AGA poster"} <= sources
