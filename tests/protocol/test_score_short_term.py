"""`anticipate score short-term`: the document of each data set, what is scored, every message."""

import json

import h5py
import numpy as np
import pytest
import torch

from anticipate.cli import main
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.protocol.short_term_predictions import ShortTermPredictionsWriter
from anticipate.protocol.short_term_scores import ShortTermScores

NUM_ACTIONS = 120


def drawn(segment_ids):
    """Scores that follow from the id of the row."""
    seeds = [list(segment_id.encode()) for segment_id in segment_ids]
    return np.stack([np.random.default_rng(seed).normal(size=NUM_ACTIONS) for seed in seeds])


def rows_of(data, k="1", part="validation"):
    with ShortTermStore(data) as store:
        return store.rows(k, part)


def write(path, segment_ids, scores=None):
    scores = drawn(segment_ids) if scores is None else scores
    with ShortTermPredictionsWriter(path, scores.shape[1]) as out:
        out.add(segment_ids, scores.astype(np.float32))
    return path


def score(capsys, predictions, data, *options):
    main(["score", "short-term", str(predictions), "--data", str(data), *options])
    return capsys.readouterr()


def failure(capsys, predictions, data, *options):
    """Return the one line that a mistake leaves on stderr (notices come before it)."""
    with pytest.raises(SystemExit) as stop:
        main(["score", "short-term", str(predictions), "--data", str(data), *options])
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.splitlines()[-1]
    assert line.startswith("anticipate: ")
    return line


def expected_scores(data, rows, logits, phantom="rulstm"):
    with ShortTermStore(data) as store:
        metric = ShortTermScores(store.protocol(), phantom)
    metric.update(
        torch.from_numpy(logits.astype(np.float32)),
        torch.from_numpy(rows.actions),
        rows.segment_ids,
    )
    return metric.compute()


@pytest.mark.parametrize("options", [(), ("--split", "val"), ("--split", "1")])
def test_the_document_of_ek100(tmp_path, short_term_file, capsys, options):
    data = short_term_file("ek100")
    rows = rows_of(data)
    document = json.loads(
        score(capsys, write(tmp_path / "p.h5", rows.segment_ids), data, "--json", *options).out
    )
    assert document == {
        **expected_scores(data, rows, drawn(rows.segment_ids)),
        "num_scored": 60,
        "num_missing": 0,
    }
    for subset in ("overall", "unseen", "tail", "seen"):
        assert document[subset].keys() == {"verb", "noun", "action"}


def test_phantom_is_passed_on(tmp_path, short_term_file, capsys):
    data = short_term_file("ek100")
    rows = rows_of(data)
    logits = np.zeros((60, NUM_ACTIONS))  # action 0 ties with all others
    predictions = write(tmp_path / "p.h5", rows.segment_ids, logits)
    documents = {
        phantom: json.loads(score(capsys, predictions, data, "--json", "--phantom", phantom).out)
        for phantom in ("rulstm", "zero")
    }
    for phantom, document in documents.items():
        assert document.pop("num_missing") == 0
        assert document == expected_scores(data, rows, logits, phantom)
    assert documents["rulstm"]["overall"]["noun"] != documents["zero"]["overall"]["noun"]


def test_ek55_and_egtea_print_their_own_scores(tmp_path, short_term_file, capsys):
    for dataset, options, names in (
        ("ek55", (), {"top1", "top5", "many_shot_recall"}),
        ("egtea", ("--split", "2"), {"top1", "top5", "recall", "top1_recall"}),
    ):
        data = short_term_file(dataset)
        rows = rows_of(data, options[-1] if options else "1")
        predictions = write(tmp_path / f"{dataset}.h5", rows.segment_ids)
        document = json.loads(score(capsys, predictions, data, "--json", *options).out)
        assert document.keys() == {"overall", "num_scored", "num_missing"}
        for task in ("verb", "noun", "action"):
            assert document["overall"][task].keys() == names
        assert (
            document["overall"] == expected_scores(data, rows, drawn(rows.segment_ids))["overall"]
        )


def test_a_table_is_printed_without_json(tmp_path, short_term_file, capsys):
    data = short_term_file("ek100")
    captured = score(capsys, write(tmp_path / "p.h5", rows_of(data).segment_ids), data)
    for text in ("ek100, 60 rows", "synthetic features", "p.h5", "unseen", "tail"):
        assert text in captured.out


def test_missing_rows_are_an_error_unless_dropped_or_zero(tmp_path, short_term_file, capsys):
    data = short_term_file("ek100")
    rows = rows_of(data)
    predictions = write(tmp_path / "p.h5", rows.segment_ids[10:])
    line = failure(capsys, predictions, data, "--json")
    assert "10 of 60 rows have no predictions: v1_0, v1_1, v1_2, v1_3, v1_4 and 5 more" in line
    dropped = json.loads(score(capsys, predictions, data, "--json", "--missing", "drop").out)
    present = rows.take(np.arange(10, 60))
    assert dropped == {
        **expected_scores(data, present, drawn(present.segment_ids)),
        "num_scored": 50,
        "num_missing": 10,
    }
    zero = json.loads(score(capsys, predictions, data, "--json", "--missing", "zero").out)
    logits = drawn(rows.segment_ids)
    logits[:10] = 0
    assert zero == {**expected_scores(data, rows, logits), "num_scored": 60, "num_missing": 10}


def test_rows_of_other_parts_are_passed_over_with_a_notice(tmp_path, short_term_file, capsys):
    data = short_term_file("ek100")
    ids = rows_of(data).segment_ids
    more = write(tmp_path / "more.h5", ids + rows_of(data, part="test").segment_ids)
    captured = score(capsys, more, data, "--json")
    assert "8 rows outside the part" in captured.err
    assert captured.out == score(capsys, write(tmp_path / "p.h5", ids), data, "--json").out


def test_an_empty_subset_is_null_with_a_notice(tmp_path, short_term_file, capsys):
    data = short_term_file("ek100")
    seen = rows_of(data).take(np.array([1, 2, 4, 5]))
    predictions = write(tmp_path / "p.h5", seen.segment_ids)
    captured = score(capsys, predictions, data, "--json", "--missing", "drop")
    assert json.loads(captured.out)["unseen"] == {"verb": None, "noun": None, "action": None}
    assert "unseen action: no scored row, so the score is NaN" in captured.err


def test_a_predictions_file_of_another_release_is_an_error(tmp_path, short_term_file, capsys):
    data = short_term_file("ek100")
    ids = rows_of(data).segment_ids
    unknown = write(tmp_path / "unknown.h5", (*ids, "P99_1"))
    assert "1 rows are not in" in failure(capsys, unknown, data)
    narrow = write(tmp_path / "narrow.h5", ids, np.zeros((60, 106)))
    line = failure(capsys, narrow, data)
    assert "'action' has 106 columns, expected one for each of the 120 actions" in line


def test_nan_and_missing_data_sets_reach_the_user_as_one_line(tmp_path, short_term_file, capsys):
    data = short_term_file("ek100")
    ids = rows_of(data).segment_ids
    logits = drawn(ids)
    logits[3, 5] = np.nan
    nan = write(tmp_path / "p.h5", ids, logits)
    assert "NaN or infinite scores in the rows v1_3" in failure(capsys, nan, data)
    with h5py.File(nan, "r+") as file:
        del file["id"]
    assert "no data set 'id'" in failure(capsys, nan, data)


def test_splits_that_do_not_exist_or_must_be_chosen(tmp_path, short_term_file, capsys):
    for dataset, options, message in (
        ("ek100", ("--split", "2"), "no split '2'; choose one of: 1"),
        ("egtea", (), "egtea has splits 1, 2, 3; choose one with --split"),
        ("egtea", ("--split", "4"), "no split '4'; choose one of: 1, 2, 3"),
    ):
        data = short_term_file(dataset)
        predictions = write(tmp_path / "p.h5", rows_of(data).segment_ids)
        assert message in failure(capsys, predictions, data, *options)


def test_a_dense_data_file_is_an_error(tmp_path, short_term_file, synthetic_file, capsys):
    predictions = write(tmp_path / "p.h5", rows_of(short_term_file("ek100")).segment_ids)
    assert "dense anticipation" in failure(capsys, predictions, synthetic_file)
