"""`anticipate score gap`: differences of two results, and of the participants of one."""

import doctest
import json

import pytest

from anticipate.cli import main
from anticipate.protocol import score_gap as gap

VALIDATION = {
    "overall": {"verb": 32.5, "noun": 38.75, "action": 18.75},
    "seen": {"verb": 33.0, "noun": 39.0, "action": 19.5},
    "unseen": {"verb": 30.0, "noun": 33.0, "action": None},
    "num_scored": 9668,
    "num_missing": 0,
}


def write(path, document):
    path.write_text(json.dumps(document))
    return str(path)


def gaps(capsys, *results):
    main(["score", "gap", *results, "--json"])
    return json.loads(capsys.readouterr().out)


def test_the_example_of_the_docstring_holds():
    assert doctest.testmod(gap).failed == 0


def test_the_second_result_minus_the_first(tmp_path, capsys):
    test = {"overall": {"verb": 31, "noun": 36.5, "action": 17, "top1": 3.0}}
    found = gaps(capsys, write(tmp_path / "a", VALIDATION), write(tmp_path / "b", test))
    assert found == {"overall/verb": -1.5, "overall/noun": -2.25, "overall/action": -1.75}


def test_one_result_compares_unseen_with_seen_participants(tmp_path, capsys):
    assert gaps(capsys, write(tmp_path / "a", VALIDATION)) == {"verb": -3.0, "noun": -6.0}


def test_the_table_has_both_sides_and_the_sign(tmp_path, capsys):
    main(["score", "gap", write(tmp_path / "a", VALIDATION)])
    table = capsys.readouterr().out
    for text in ("seen", "unseen", "33.0", "30.0", "-3.0", "noun"):
        assert text in table


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["{"], "no JSON document"),
        (["[1]"], "no JSON object of scores"),
        (['{"overall": {"action": 1.0}}'], "no scores of seen and unseen participants"),
        (['{"a": 1.0}', '{"b": 1.0, "num_scored": 1}'], "1.json: no score in common"),
        (['{"num_scored": 1}', '{"num_scored": 1}'], "1.json: no score in common"),
        (["{}"] * 3, "3 results given, expected one or two"),
    ],
)
def test_results_that_cannot_be_compared(tmp_path, capsys, texts, message):
    paths = [tmp_path / f"{number}.json" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    with pytest.raises(SystemExit) as stop:
        main(["score", "gap", *map(str, paths)])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_result_that_does_not_exist(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["score", "gap", str(tmp_path / "no.json")])
    assert "cannot be read (No such file" in capsys.readouterr().err
