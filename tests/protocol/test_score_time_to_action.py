"""`anticipate score time-to-action` and the pure function under it."""

import doctest
import json

import numpy as np
import pytest

from anticipate.cli import main
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.protocol import score_time_to_action as module
from anticipate.protocol.score_time_to_action import time_to_action
from anticipate.protocol.short_term_predictions import ShortTermPredictionsWriter


def test_the_example_of_the_docstring_holds():
    assert doctest.testmod(module).failed == 0


def test_the_first_time_counts_even_if_the_class_is_lost_again():
    hits = np.array([[0, 1, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1]], dtype=bool)
    assert time_to_action(hits, (2.0, 1.0, 0.25)).tolist() == [1.0, 2.0, 0.0, 2.0]


def write(folder, data, seconds, known):
    """Predictions that rank the true action first in the rows `known` and last elsewhere."""
    with ShortTermStore(data) as store:
        rows = store.rows(1, "validation")
        num_actions = store.num_classes
    logits = np.zeros((rows.num_rows, num_actions), np.float32)
    logits[np.arange(rows.num_rows), rows.actions] = np.where(known, 50, -50)
    path = folder / f"{seconds}.h5"
    with ShortTermPredictionsWriter(path, num_actions) as out:
        out.add(rows.segment_ids, logits)
    return f"{seconds}={path}"


def test_files_at_several_times_are_scored_together(tmp_path, short_term_file, capsys):
    data, rows = short_term_file("ek55"), np.arange(60)
    files = [
        write(tmp_path, data, "0.5", rows % 2 == 0),
        write(tmp_path, data, "2.0", rows < 15),
        write(tmp_path, data, "1", rows < 30),
    ]
    main(["score", "time-to-action", *files, "--data", str(data), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["num_scored"] == 60
    assert list(document["top5"]) == ["2.0", "1.0", "0.5"]
    assert [scores["action"] for scores in document["top5"].values()] == [25.0, 50.0, 50.0]
    assert document["time_to_action"]["action"] == (15 * 2 + 15 * 1 + 15 * 0.5) / 60
    main(["score", "time-to-action", *files, "--data", str(data)])
    table = capsys.readouterr().out
    assert "0.88" in table  # 0.875 s
    assert "2.0 s" in table


@pytest.mark.parametrize("argument", ["p.h5", "=p.h5", "1.0=", "x=p.h5", "-1=p.h5", "0=p.h5"])
def test_a_file_without_its_time_is_an_error(short_term_file, capsys, argument):
    with pytest.raises(SystemExit) as stop:
        main(["score", "time-to-action", "--data", str(short_term_file("ek55")), "--", argument])
    assert stop.value.code == 2
    assert f"'{argument}' is not like 1.0=PREDICTIONS.h5" in capsys.readouterr().err


def test_a_time_given_twice_is_an_error(short_term_file, capsys):
    files = ["1.0=a.h5", "1=b.h5"]
    with pytest.raises(SystemExit):
        main(["score", "time-to-action", *files, "--data", str(short_term_file("ek55"))])
    assert "the same anticipation time" in capsys.readouterr().err
