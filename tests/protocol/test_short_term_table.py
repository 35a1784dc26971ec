"""The short-term table: what stands in which row and column."""

from rich.console import Console

from anticipate.protocol.short_term_table import short_term_table


def lines(rows, synthetic=False):
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        console.print(short_term_table("ek100", rows, synthetic))
    return [line.split() for line in capture.get().splitlines() if line.strip()]


def subset(value):
    return {"verb": value, "noun": value + 1, "action": value + 2}


def test_each_score_has_a_row_and_each_method_a_column():
    scores = {"overall": subset(10.0), "many_shot": subset(20.0), "num_scored": 9638}
    title, methods, _, *found = lines({"AGA": scores, "prior": scores})
    assert title == ["ek100", "(%)"]
    assert methods == ["AGA", "prior"]
    assert found[0] == ["overall", "verb", "10.0", "10.0"]
    assert found[-1] == ["many", "shot", "action", "22.0", "22.0"]
    assert len(found) == 6


def test_the_seen_rows_stay_out_as_in_the_papers():
    found = lines({"AGA": {"overall": subset(1.0), "seen": subset(2.0)}})
    assert "seen" not in {words[0] for words in found}
    assert len(found) == 6


def test_nothing_to_measure_is_a_dash_and_missing_scores_too():
    rows = {"a": {"overall": {"verb": float("nan"), "noun": 1.0}}, "b": {"overall": {"noun": 2.0}}}
    assert lines(rows)[-2:] == [["overall", "verb", "-", "-"], ["overall", "noun", "1.0", "2.0"]]


def test_synthetic_features_are_named():
    assert lines({"AGA": {"overall": subset(1.0)}}, synthetic=True)[0][-2:] == [
        "synthetic",
        "features",
    ]
