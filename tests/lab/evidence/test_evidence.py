"""`anticipate evidence`: its plan, its file, and that the documents say what the file says."""

import json
import os
import sys
import tarfile
from pathlib import Path
from statistics import stdev

import pytest
import yaml

from anticipate.cli import main
from anticipate.datasets.prepare import main as prepare
from anticipate.errors import ConfigError, RunExistsError
from anticipate.lab.evidence import evidence_command as command
from anticipate.lab.evidence import evidence_plan
from anticipate.lab.evidence.evidence_command import DOCUMENTS, read_evidence
from anticipate.lab.evidence.evidence_file import FILE, document, to_text
from anticipate.lab.evidence.evidence_plan import Part, read_plan, seconds_to_do
from anticipate.lab.evidence.evidence_tables import BLOCK, TABLES, runs_table, update
from anticipate.lab.report.runs import collect
from anticipate.lab.studies import studies

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def evidence():
    return read_evidence(ROOT / FILE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_the_tables_of_the_documents_are_those_of_the_file(path, evidence):
    text = (ROOT / path).read_text()
    assert update(text, evidence, read_plan().tables) == text, "anticipate evidence tables"


def test_every_table_stands_in_a_document():
    shown = {name for path in DOCUMENTS for _, name, *_ in BLOCK.findall((ROOT / path).read_text())}
    assert shown == {*read_plan().tables, *TABLES}


def test_every_claim_of_the_papers_is_checked_somewhere():
    named = {Path(word) for part in read_plan().parts for word in part.sweep.split()}
    for study in (study for study in studies() if study.claims):
        assert Path("experiments/ablations") / study.name in named


def test_the_rows_of_tables_name_runs_that_a_part_makes():
    plan = read_plan()
    for table in plan.tables.values():
        for asked in (table.get("rows") or {}).values():
            row = {"run": asked} if isinstance(asked, str) else asked
            name, part = row["run"], row.get("part", table["part"])
            (sweep,) = [one.sweep for one in plan.parts if one.name == part]
            files = [
                ROOT / "experiments" / f"{name}.yaml",
                ROOT / f"experiments/ablations/{name}.yaml",
            ]
            (file,) = [file.relative_to(ROOT) for file in files if file.is_file()]
            assert str(file) in sweep or str(file.parent) in sweep


def test_quick_is_a_part_of_all_with_one_seed():
    whole, quick = ({part.name: part for part in read_plan(q).parts} for q in (False, True))
    assert {"breakfast", "ek100"} <= quick.keys() < whole.keys()
    assert all(part.seeds == whole[name].seeds[:1] for name, part in quick.items())


def test_an_unknown_run_takes_as_long_as_those_of_its_part():
    known = {
        "a": [{"run": "x", "cpu_seconds": 10.0}, {"run": "x", "cpu_seconds": 20.0}],
        "b": [{"run": "y", "cpu_seconds": 60.0}, {"run": "z", "cpu_seconds": None}],
    }
    assert seconds_to_do([("a", "x")], known) == 15.0
    assert seconds_to_do([("a", "new")], known) == 15.0
    assert seconds_to_do([("b", "z")], known) == 60.0
    assert seconds_to_do([("c", "new")], known) == 30.0
    assert seconds_to_do([("c", "new")], {}) == 0.0


PART = Part("dense", "Dense", "synthetic", "experiments/x.yaml", (0, 1))
TABLE = {"part": "dense", "columns": ["mean_moc", "majority", "cpu_minutes"]}


def made(make_run, tmp_path):
    """The document of two seeds of MixANT with known scores."""
    for seed, score in ((0, 50.0), (1, 54.0)):
        make_run("mixant", score, seed=seed)
    return document({PART: collect([tmp_path / "runs"]).runs}, 0.5, {"split_1": {"x": 1 / 3}})


def test_the_file_holds_means_and_is_read_as_it_was_written(make_run, tmp_path):
    found = made(make_run, tmp_path)
    runs = found["parts"]["dense"]["runs"]
    # Of `dense_scores`: score - 20 - 10 x horizon, horizons .1 .2 .3 .5.
    assert [run["scores"]["MixANT"]["mean_moc"] for run in runs] == [27.25, 31.25]
    assert found["labels"] == {"split_1": {"x": 0.3333}}
    assert json.loads(to_text(found)) == found
    assert sum('"run": "mixant"' in line for line in to_text(found).splitlines()) == 2


def test_a_row_is_mean_and_deviation_over_its_runs(make_run, tmp_path):
    rows = {"ours": "mixant", "below": {"run": "mixant", "method": "baseline"}, "none": "other"}
    grid = runs_table(made(make_run, tmp_path), "t", rows=rows, **TABLE)
    half = stdev([5.0 - 2.75, 7.0 - 2.75])
    assert grid.rows == (
        ("ours", "2", f"29.2 ± {stdev([27.25, 31.25]):.1f}", "-", "-"),
        ("below", "2", f"{(2.25 + 4.25) / 2:.1f} ± {half:.1f}", "-", "-"),
        ("none", "0", "-", "-", "-"),
    )


def test_without_rows_every_run_is_one(make_run, tmp_path):
    grid = runs_table(made(make_run, tmp_path), "t", **TABLE)
    assert [row[:2] for row in grid.rows] == [("mixant", "2")]


def test_only_tables_change_and_an_unknown_one_is_named(make_run, tmp_path):
    block = "<!-- evidence: {0} -->\n{1}<!-- end of {0} -->"
    text = "before\n" + block.format("dense", "old\n") + "\nafter\n"
    described = {"dense": {**TABLE, "rows": {"ours": "mixant"}}}
    found = made(make_run, tmp_path)
    once = update(text, found, described)
    assert once.startswith("before\n<!-- evidence: dense -->\n| method | runs |")
    assert once.endswith("|\n<!-- end of dense -->\nafter\n")
    assert update(once, found, described) == once
    with pytest.raises(
        ConfigError, match="no table 'other' of evidence: choose from dense, claims"
    ):
        update(block.format("other", ""), found, described)


def plan_of(folder, **data):
    """Write a plan with two parts on a data set into a folder, and no label studies."""
    part = {"title": "One", "data": "one", "sweep": "experiments/x.yaml", "seeds": [0, 1]}
    content = {
        "data": {"one": {"prepare": "synthetic", **data}},
        "parts": {"first": part, "second": {**part, "quick": True}},
        "labels": {
            "data": "other",
            "part": "second",
            "splits": [1],
            "futures": ["mixant"],
            "seconds": 600,
        },
        "tables": {},
    }
    (folder / "plan.yaml").write_text(yaml.safe_dump(content))


@pytest.fixture
def commands(tmp_path, monkeypatch, make_run):
    """Commands that are run, here only written down: the sweep of the first part fails."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Part, "planned", lambda part, jobs: [])
    monkeypatch.setattr(evidence_plan, "PLAN", tmp_path / "plan.yaml")
    said = []

    def record(words):
        said.append(words)
        if words[0] == "sweep" and "runs/evidence/first" in words:
            raise SystemExit(1)
        if words[0] == "sweep":
            make_run("evidence/second/mixant")

    monkeypatch.setattr(command, "run_command", record)
    return said


def test_a_part_that_fails_stops_no_other_and_all_is_written(tmp_path, commands, capsys):
    plan_of(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        main(["evidence", "run", "--jobs", "1"])
    assert [words[0] for words in commands] == ["prepare", "sweep", "sweep"]
    assert commands[1][-4:] == ["0", "1", "--set", "data.path=data/evidence/one.h5"]
    found = read_evidence(tmp_path / "evidence" / "evidence.json")
    assert list(found["parts"]) == ["second"]
    assert (tmp_path / "evidence" / "index.html").is_file()
    assert "failed: first; the same command tries them again" in capsys.readouterr().err


def test_quick_keeps_the_runs_of_other_parts(tmp_path, commands, make_run):
    plan_of(tmp_path)
    make_run("evidence/first/mixant")
    main(["evidence", "run", "--quick"])
    found = read_evidence(tmp_path / "evidence" / "evidence.json")
    assert list(found["parts"]) == ["first", "second"]


def test_a_part_that_cannot_be_planned_stops_no_other(tmp_path, commands, monkeypatch, capsys):
    plan_of(tmp_path)

    def planned(part, jobs):
        if part.name == "second":
            raise RunExistsError("a run without its config.yaml")
        return []

    monkeypatch.setattr(Part, "planned", planned)
    main(["evidence", "run", "--dry-run"])
    said = capsys.readouterr().err
    assert "second cannot be run as it is, the others can: a run without its config.yaml" in said


def test_label_studies_that_fail_leave_the_page_without_them(
    tmp_path, commands, monkeypatch, capsys
):
    plan_of(tmp_path)
    plan = yaml.safe_load((tmp_path / "plan.yaml").read_text())
    plan["labels"]["data"] = "one"
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    recorded = command.run_command

    def fails(words):
        if words[0] == "score":
            sys.stdout.write("half")
            raise SystemExit(2)
        recorded(words)

    monkeypatch.setattr(command, "run_command", fails)
    with pytest.raises(SystemExit, match="1"):
        main(["evidence", "run", "--quick"])
    said = capsys.readouterr().err
    assert "failed: label studies; the same command" in said
    assert "label studies are left out, as runs/evidence/labels/labels.json cannot be read" in said
    assert read_evidence(tmp_path / "evidence" / "evidence.json")["labels"] == {}
    assert not list((tmp_path / "runs" / "evidence" / "labels").iterdir())


def test_futures_are_those_of_the_weights_that_were_tested(tmp_path, commands):
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    (folder / "metrics.json").write_text('{"scores": {"MixANT": {}}}')
    assert command._sample(folder, tmp_path)
    futures = folder / "predictions.h5"
    futures.touch()
    assert command._sample(folder, tmp_path)
    assert len(commands) == 1
    os.utime(futures, (0, 0))  # sampled before the test: of weights that were trained on
    assert command._sample(folder, tmp_path)
    assert [words[0] for words in commands] == ["predict", "predict"]


def test_without_a_file_of_known_costs_only_the_estimate_lacks(
    tmp_path, commands, monkeypatch, capsys
):
    plan_of(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / FILE).write_text("<<<<<<< ours")
    main(["evidence", "run", "--quick"])
    assert "how long it takes is not known: experiments/evidence.json" in capsys.readouterr().err
    assert (tmp_path / "evidence" / "evidence.json").is_file()


def test_a_data_file_is_used_again_only_where_it_is_the_one(tmp_path, commands, capsys):
    plan_of(tmp_path, labels="one", prepare="synthetic_actions")
    file = tmp_path / "data" / "evidence" / "one.h5"
    file.parent.mkdir(parents=True)
    again = "with: anticipate evidence run, after you have deleted data/evidence/one.h5"
    file.write_bytes(b"half a file")
    for fault in ("data/evidence/one.h5", "holds synthetic, expected synthetic_actions"):
        with pytest.raises(SystemExit, match="2"):
            main(["evidence", "run", "--dry-run"])
        said = capsys.readouterr().err
        assert fault in said
        assert again in said
        file.unlink()
        prepare(["prepare", "synthetic", "--output", str(file), "--videos", "20"])
    plan_of(tmp_path, labels="one")
    file.with_suffix(".recipe").write_text("synthetic --videos 20")
    with pytest.raises(SystemExit, match="2"):
        main(["evidence", "run", "--dry-run"])
    said = capsys.readouterr().err
    assert "was made with 'synthetic --videos 20', the plan now says 'synthetic': delete it" in said
    file.with_suffix(".recipe").unlink()
    (tmp_path / "labels" / "one").mkdir(parents=True)
    main(["evidence", "run", "--dry-run", "--labels", "labels"])
    said = capsys.readouterr().err
    assert "one.h5 was made from invented with seed 0, and labels/one is not read" in said
    assert commands == []


def test_dry_run_tells_the_time_and_trains_nothing(tmp_path, commands, monkeypatch, capsys):
    plan_of(tmp_path)
    main(["evidence", "run", "--quick", "--dry-run", "--jobs", "1"])
    assert [words[0] for words in commands] == ["prepare"]
    assert "evidence: 0 of 0 runs to do, 1 at a time: about 0 min" in capsys.readouterr().err
    plan = yaml.safe_load((tmp_path / "plan.yaml").read_text())
    plan["labels"]["data"] = "one"
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    known = read_evidence(ROOT / FILE)["machine"]["seconds_of_work"]
    monkeypatch.setattr(command, "seconds_of_work", lambda: 2 * known)
    main(["evidence", "run", "--dry-run", "--jobs", "1"])
    said = capsys.readouterr().err
    assert "about 20 min on this machine (20 min of one core)" in said  # twice as slow


def test_real_labels_are_a_folder_or_an_archive(tmp_path, commands, capsys):
    plan_of(tmp_path, labels="breakfast")
    with pytest.raises(SystemExit, match="2"):
        main(["evidence", "run"])
    said = capsys.readouterr().err
    assert "no real labels (no --labels): what needs one.h5" in said
    assert "anticipate: nothing to run: name a folder of real labels with --labels" in said
    (tmp_path / "release" / "breakfast").mkdir(parents=True)
    with tarfile.open(tmp_path / "release" / "breakfast.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "release" / "breakfast", "breakfast")
    main(["evidence", "run", "--labels", "release", "--dry-run"])
    assert commands[-1][-2:] == ["--source", "release/breakfast"]
    (tmp_path / "release" / "breakfast").rmdir()
    main(["evidence", "run", "--labels", "release", "--dry-run"])
    assert commands[-1][-2:] == ["--source", "data/evidence/labels/breakfast"]
    (tmp_path / "release" / "breakfast.tar.xz").write_bytes(b"half")
    with pytest.raises(SystemExit, match="2"):
        main(["evidence", "run", "--labels", "release", "--dry-run"])
    assert "breakfast.tar.xz cannot be unpacked" in capsys.readouterr().err


def test_tables_do_not_lose_runs_unasked(tmp_path, monkeypatch, make_run, capsys):
    found = made(make_run, tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / FILE).write_text(to_text(found) + "\n")
    (tmp_path / "README.md").write_text("no table\n")
    found["parts"]["dense"]["runs"].pop()
    (tmp_path / "e.json").write_text(to_text(found))
    with pytest.raises(SystemExit, match="2"):
        main(["evidence", "tables", "e.json"])
    assert (
        "e.json lacks 1 results of experiments/evidence.json, such as mixant of dense, split 1,"
    ) in capsys.readouterr().err
    assert read_evidence(FILE) != found
    main(["evidence", "tables", "e.json", "--replace"])
    assert read_evidence(FILE) == found


def test_a_file_without_label_studies_changes_no_document(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    machine = '"machine": {"seconds_of_work": 1.0}'
    (tmp_path / "e.json").write_text(f'{{{machine}, "parts": {{}}, "claims": [], "labels": {{}}}}')
    with pytest.raises(SystemExit, match="2"):
        main(["evidence", "tables", "e.json"])
    (tmp_path / "experiments").mkdir()
    blocks = ("<!-- evidence: readme -->\n<!-- end of readme -->\n", "splits")
    (tmp_path / "README.md").write_text(blocks[0])
    (tmp_path / "experiments" / "README.md").write_text(blocks[0].replace("readme", blocks[1]))
    with pytest.raises(SystemExit, match="2"):
        main(["evidence", "tables", "e.json"])
    assert (tmp_path / "README.md").read_text() == blocks[0]
    first, second = capsys.readouterr().err.splitlines()
    assert "no README.md or experiments/README.md here" in first
    assert "e.json lacks what the tables need ('split_1')" in second


EVIDENCE = '{"machine": {"seconds_of_work": %s}, "parts": %s, "claims": [], "labels": {}}'


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        (None, ["tables", "e.json"], "e.json cannot be read"),
        ("[]", ["tables", "e.json"], "e.json is of another form"),
        ("{}", ["tables", "e.json"], "e.json lacks claims, labels, machine, parts: anticipate"),
        (EVIDENCE % ("0", "{}"), ["tables", "e.json"], "e.json holds no seconds_of_work above 0"),
        (EVIDENCE % ("1", '{"a": []}'), ["tables", "e.json"], "e.json is of another form"),
        (
            EVIDENCE % ("1", '{"a": {"runs": [{"run": "x"}]}}'),
            ["tables", "e.json"],
            "e.json holds a run without cpu_seconds, run, scores, seed, split: {'run': 'x'}",
        ),
        (None, ["run", "--labels", "nowhere"], "--labels nowhere: no such folder"),
        (None, ["run", "--jobs", "9999"], "--jobs 9999: this machine gives"),
    ],
)
def test_mistakes_are_one_line(content, words, message, tmp_path, commands, capsys):
    plan_of(tmp_path, labels="breakfast")
    if content:
        (tmp_path / "e.json").write_text(content)
    with pytest.raises(SystemExit, match="2"):
        main(["evidence", *words])
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert commands == []
