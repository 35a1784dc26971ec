"""The short-term table: what stands in which column."""

from rich.console import Console

from anticipate.protocol.short_term_table import short_term_table


def lines(rows, synthetic=False):
    console = Console(width=100, no_color=True)
    with console.capture() as capture:
        console.print(short_term_table("ek100", rows, synthetic))
    return [line.split() for line in capture.get().splitlines() if line.strip()]


def subset(value):
    return {"verb": value, "noun": value + 1, "action": value + 2}


def test_subsets_and_tasks_head_the_scores_of_each_method():
    scores = {"overall": subset(10.0), "tail": subset(20.0), "num_scored": 9638}
    title, subsets, tasks, _, model, prior = lines({"AGA": scores, "prior": scores})
    assert title == ["ek100", "(%)"]
    assert subsets == ["overall", "tail"]
    assert tasks == ["method", *["verb", "noun", "action"] * 2]
    assert model == ["AGA", "10.0", "11.0", "12.0", "20.0", "21.0", "22.0"]
    assert prior[0] == "prior"


def test_the_seen_rows_stay_out_as_in_the_papers():
    table = lines({"AGA": {"overall": subset(1.0), "seen": subset(2.0)}})
    assert "seen" not in table[1]
    assert len(table[-1]) == 4


def test_nothing_to_measure_is_a_dash_and_missing_scores_too():
    rows = {"a": {"overall": {"verb": float("nan"), "noun": 1.0}}, "b": {"overall": {"noun": 2.0}}}
    assert lines(rows)[-2:] == [["a", "-", "1.0"], ["b", "-", "2.0"]]


def test_synthetic_features_are_named():
    assert lines({"AGA": {"overall": subset(1.0)}}, synthetic=True)[0][-2:] == [
        "synthetic",
        "features",
    ]
