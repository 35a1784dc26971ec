"""Main scores of runs, their mean and spread, and the tables and documents of both."""

import io
import json

import pytest
from rich.console import Console

from anticipate.errors import DataError
from anticipate.lab.sweep.plan import plan
from anticipate.lab.sweep.sweep_tables import (
    document,
    main_scores,
    plan_table,
    read_scores,
    summarise,
    summary_table,
)


def shown(table):
    console = Console(width=300, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def test_dense_scores_are_means_over_observations_and_horizons():
    ratios = {
        "0.2": {"mean_moc": {"0.1": 10.0, "0.5": 20.0}, "top1_moc": {"0.1": 1.0, "0.5": None}},
        "0.3": {"mean_moc": {"0.1": 30.0, "0.5": 40.0}, "top1_moc": {"0.1": 3.0, "0.5": 8.0}},
    }
    scores = main_scores({"kind": "dense", "scores": {"MixANT": ratios, "tri-gram": {}}})
    assert scores == {"mean MoC": 25.0, "top-1 MoC": 4.0}


def test_short_term_scores_are_those_of_the_action_over_all_rows():
    ek100 = {"overall": {"verb": 9.0, "noun": 8.0, "action": 7.0}, "num_scored": 3}
    assert main_scores({"kind": "short_term", "scores": {"AGA": ek100}}) == {"action recall@5": 7.0}
    egtea = {"overall": {"action": {"top1": 5.0, "top5": 6.0, "many_shot_recall": None}}}
    assert main_scores({"kind": "short_term", "scores": {"AGA": egtea}}) == {
        "action top1": 5.0,
        "action top5": 6.0,
    }


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"scores": {}}', '{"scores": {"M": {"0.2": {}}}}']
)
def test_a_broken_metrics_file_is_named(tmp_path, text):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(DataError, match=r"metrics.json does not hold the scores of a test"):
        read_scores(tmp_path)


def test_mean_and_spread(folders):
    planned = plan([folders.run("mine", seed=seed) for seed in range(3)])
    summary = summarise(planned, [{"a": 1.0, "b": 5.0}, {"a": 3.0}, None])["mine"]
    assert summary["a"] == (2.0, pytest.approx(2.0**0.5), 2)
    assert summary["b"] == (5.0, None, 1)


def test_tables_and_document_tell_what_is_done_shared_and_missing(folders):
    done, second, shared, missing = (
        folders.run("a"),
        folders.run("a", seed=1),
        folders.run("b"),
        folders.run("c", **{"trainer.max_epochs": 9}),
    )
    folders.finish(done, 40.0)
    folders.finish(second, 42.0)
    planned = plan([done, second, shared, missing])
    text = shown(plan_table(planned))
    assert "same as a/split_1/seed_0" in text
    assert "train" in text
    scores = [read_scores(item.same_as or item.run.folder) for item in planned[:3]]
    assert "41.00 ± 1.41" in shown(summary_table(summarise(planned, [*scores, None])))
    content = json.loads(json.dumps(document(planned, [*scores, None])))
    assert content["runs"][2]["same_as"] == str(done.folder)
    assert content["runs"][3]["scores"] is None
    assert [row["run_name"] for row in content["experiments"]] == ["a", "b"]
    assert content["experiments"][0]["scores"]["mean MoC"]["mean"] == 41.0
