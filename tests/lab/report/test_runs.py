"""Run folders: which count, which refer to others, and what is said of the rest."""

import json

import pytest

from anticipate.errors import DataError
from anticipate.lab.report.judged_claims import claims_document
from anticipate.lab.report.run_groups import group_runs
from anticipate.lab.report.runs import SHARE, collect


def reasons(collection):
    return {skipped.folder.parent.parent.name: skipped.reason for skipped in collection.skipped}


def test_names_splits_seeds_and_values_are_read(make_run, draw, tmp_path):
    draw(make_run("experts/3", 40.0, split=2, seed=7), largest=0.5)
    (run,) = collect([tmp_path / "runs"]).runs
    assert (run.name, run.key, run.method) == ("experts/3", ("2", 7), "MixANT")
    assert run.root == tmp_path / "runs"
    assert run.values["0.3/top1_moc/0.5"] == pytest.approx(40.0)
    assert run.values["efficiency/seconds_per_video"] == 0.5
    assert run.values[SHARE] == pytest.approx(50.0)


def test_a_folder_within_the_runs_finds_the_same_runs(make_run, tmp_path):
    make_run("experts/3")
    make_run("experts/4")
    (whole, part) = (collect([tmp_path / folder]) for folder in ("runs", "runs/experts"))
    assert [run.name for run in whole.runs] == [run.name for run in part.runs]
    assert {run.root for run in part.runs} == {tmp_path / "runs"}


def test_a_folder_named_twice_counts_once(make_run, tmp_path):
    make_run("a")
    assert len(collect([tmp_path / "runs", tmp_path / "runs" / "a"]).runs) == 1


def test_a_reference_takes_the_results_of_the_other_run(make_run, same_as, tmp_path):
    root = tmp_path / "runs"
    make_run("mixant", 44.0)
    same_as(root, "experts/5", "mixant/split_1/seed_0")
    same_as(root, "router/unified", "experts/5/split_1/seed_0")
    found = {run.name: run for run in collect([root]).runs}
    assert set(found) == {"mixant", "experts/5", "router/unified"}
    assert found["router/unified"].values == found["mixant"].values
    assert found["router/unified"].root == root


def test_a_point_may_bear_the_name_of_the_run_it_stands_for(make_run, same_as, tmp_path):
    root = tmp_path / "runs"
    make_run("mixant", 44.0)
    same_as(root, "denoiser/mixant", "mixant/split_1/seed_0")
    runs = {run.name: run for run in collect([root]).runs}
    assert runs["denoiser/mixant"].values == runs["mixant"].values


def test_each_unusable_folder_is_named_with_its_reason(make_run, same_as, tmp_path):
    root = tmp_path / "runs"
    make_run("good")
    (make_run("torn") / "metrics.json").write_text('{"kind": "dense", "sc')
    (make_run("unfinished") / "metrics.json").unlink()
    (make_run("half") / "config.yaml").unlink()
    (make_run("nameless") / "config.yaml").write_text("trainer: {}\n")
    (make_run("garbled") / "config.yaml").write_text("a: [1\n")
    (root / "empty" / "split_1" / "seed_0").mkdir(parents=True)
    old = make_run("old") / "metrics.json"
    old.write_text(json.dumps(json.loads(old.read_text()) | {"version": "0.0.1"}))
    bare = make_run("bare") / "metrics.json"
    content = json.loads(bare.read_text())
    bare.write_text(json.dumps({name: content[name] for name in ("version", "kind")}))
    odd = make_run("odd") / "metrics.json"
    odd.write_text(json.dumps(json.loads(odd.read_text()) | {"scored_part": ["half"]}))
    same_as(root, "left", "right/split_1/seed_0")
    same_as(root, "right", "left/split_1/seed_0")
    same_as(root, "lost", "nowhere/split_1/seed_0")
    collection = collect([root])
    assert [run.name for run in collection.runs] == ["good"]
    found = reasons(collection)
    expected = {
        "torn": "not JSON",
        "unfinished": "not finished",
        "half": "half-deleted",
        "nameless": "no run_name",
        "garbled": "not YAML",
        "empty": "no config.yaml",
        "old": "written by anticipate 0.0.1",
        "bare": "no usable dataset, split",
        "odd": "no usable scored_part",
        "left": "circle",
        "right": "circle",
        "lost": "'nowhere/split_1/seed_0'",
    }
    assert set(found) == set(expected)
    for name, reason in expected.items():
        assert reason in found[name], name


def test_no_folder_and_no_runs_are_mistakes(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        collect([tmp_path / "nothing"])
    with pytest.raises(DataError, match="no run folder"):
        collect([tmp_path])


def test_synthetic_and_real_runs_and_kinds_are_never_in_one_group(make_run, tmp_path):
    make_run("a")
    make_run("b", synthetic=True)
    make_run("c", kind="short_term")
    make_run("d")
    groups = group_runs(collect([tmp_path / "runs"]).runs)
    assert [[run.name for run in group.runs] for group in groups] == [["a", "d"], ["c"], ["b"]]
    assert len({group.stem for group in groups}) == 3


def test_equal_runs_of_two_folders_are_two_groups_with_names_of_their_own(make_run, tmp_path):
    make_run("a")
    (tmp_path / "runs").rename(tmp_path / "first")
    make_run("a")
    groups = group_runs(collect([tmp_path]).runs)
    assert [group.stem for group in groups] == ["breakfast_real", "breakfast_real_2"]
    assert [group.title.rpartition("/")[2] for group in groups] == ["first", "runs"]


def test_judged_claims_are_plain_data(make_run, tmp_path):
    for name, score in {"router/unified": 50.0, "router/independent": 45.0}.items():
        make_run(name, score, synthetic=True)
    make_run("memory/one", dataset="synthetic_memory", synthetic=True)
    document = claims_document(group_runs(collect([tmp_path / "runs"]).runs))
    assert json.loads(json.dumps(document)) == document
    assert [type(value) for value in document[0].values()] == [str] * 8
    assert document[0] == {
        "study": "router",
        "data": "Breakfast, synthetic features",
        "source": "MixANT Fig. 4",
        "claim": "One router for both directions beats one for each",
        "published": "figure without numbers: the unified router is better",
        "measured": "50.0 against 45.0 (+5.0)",
        "verdict": "one common run: agrees",
        "decides": "three seeds of each (--seeds 0 1 2); then real features, the whole recipe",
    }
    assert document[1]["decides"] == "runs of identical"  # there are no real features of these data
