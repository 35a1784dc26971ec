"""The short-term predictions file: round trip, alignment, and every way in which it can fail."""

import h5py
import numpy as np
import pytest

from anticipate.errors import DataError
from anticipate.protocol import short_term_predictions as short_term
from anticipate.protocol.short_term_predictions import (
    ShortTermPredictionsReader,
    ShortTermPredictionsWriter,
)

IDS = tuple(f"P01_01_{number}" for number in range(7))
SCORES = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)


def write(path, ids=IDS, scores=SCORES, **attributes):
    with ShortTermPredictionsWriter(path, scores.shape[1], **attributes) as out:
        out.add(ids[:3], scores[:3])
        out.add(ids[3:], scores[3:])
    return path


def handmade(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, data in {"id": list(IDS), "action": SCORES, **arrays}.items():
            if data is not None:
                file[name] = data
    return path


def test_rows_and_attributes_survive_the_round_trip(tmp_path):
    path = write(tmp_path / "p.h5", dataset="ek100", synthetic=True)
    with ShortTermPredictionsReader(path) as predictions:
        assert predictions.attributes == {"dataset": "ek100", "synthetic": True}
        assert predictions.segment_ids == IDS
        assert predictions.num_actions == 4
        ((ids, scores),) = predictions.blocks()
    assert ids == IDS
    np.testing.assert_array_equal(scores, SCORES)


def test_the_layout_is_that_of_the_documentation(tmp_path):
    with h5py.File(write(tmp_path / "p.h5")) as file:
        assert set(file) == {"id", "action"}
        assert tuple(file["id"].asstr()[:]) == IDS
        assert file["action"].shape == (7, 4)
        assert file["action"].dtype == np.float32


def test_an_error_while_writing_leaves_neither_file(tmp_path):
    with pytest.raises(KeyboardInterrupt), ShortTermPredictionsWriter(tmp_path / "p.h5", 4):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arrays",
    [
        {"id": np.array(IDS, "S")},
        {"id": np.array([name.encode() for name in IDS], object)},
        {"action": SCORES.astype(">f8")},
        {"action": SCORES.astype(np.float16), "verb": SCORES},
    ],
)
def test_other_float_and_text_types_read_the_same(tmp_path, arrays):
    with ShortTermPredictionsReader(handmade(tmp_path / "p.h5", **arrays)) as predictions:
        ((ids, scores),) = predictions.blocks()
    assert ids == IDS
    np.testing.assert_allclose(scores, SCORES, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("block", [1, 2, 100])
def test_aligned_rows_are_those_wanted_in_any_order(tmp_path, monkeypatch, block):
    monkeypatch.setattr(short_term, "BLOCK", block)
    wanted = (IDS[6], IDS[0], IDS[3])
    with ShortTermPredictionsReader(write(tmp_path / "p.h5")) as predictions:
        rows, scores = map(np.concatenate, zip(*predictions.aligned(wanted, "error"), strict=True))
    assert sorted(rows.tolist()) == [0, 1, 2]
    np.testing.assert_array_equal(scores[np.argsort(rows)], SCORES[[6, 0, 3]])


def test_missing_rows_are_an_error_left_out_or_zero(tmp_path):
    wanted = ("nobody", IDS[2], "nowhere")
    with ShortTermPredictionsReader(write(tmp_path / "p.h5")) as predictions:
        with pytest.raises(DataError, match="2 of 3 rows have no predictions: nobody, nowhere;"):
            list(predictions.aligned(wanted, "error"))
        ((rows, scores),) = predictions.aligned(wanted, "drop")
        assert rows.tolist() == [1]
        np.testing.assert_array_equal(scores, SCORES[[2]])
        _, (rows, scores) = predictions.aligned(wanted, "zero")
        assert rows.tolist() == [0, 2]
        np.testing.assert_array_equal(scores, np.zeros((2, 4)))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"id": None}, r"no data set 'id' \(one text per row\), only action"),
        ({"action": None}, r"no data set 'action' \(floats of shape \(rows, actions\)\), only id"),
        ({"id": np.arange(7)}, "'id' holds int64 of shape"),
        ({"id": [[name] for name in IDS]}, "'id' holds object of shape"),
        ({"action": SCORES[0]}, r"'action' holds float32 of shape \(4,\)"),
        ({"action": SCORES[None]}, r"'action' holds float32 of shape \(1, 7, 4\)"),
        ({"action": SCORES.argmax(1)[:, None]}, "'action' holds int64"),
        ({"action": SCORES[:5]}, "'id' has 7 rows, 'action' 5"),
        ({"id": [IDS[0]] * 2 + list(IDS[2:])}, "1 ids occur more than once: P01_01_0;"),
        ({"id": np.array([b"\xff"] * 7, "S")}, "'id' cannot be read as text"),
    ],
)
def test_another_layout_is_an_error(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message) as error:
        ShortTermPredictionsReader(handmade(tmp_path / "p.h5", **arrays))
    assert str(tmp_path / "p.h5") in str(error.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_name_their_rows(tmp_path, value):
    scores = SCORES.copy()
    scores[[1, 4], 2] = value
    with (
        ShortTermPredictionsReader(handmade(tmp_path / "p.h5", action=scores)) as predictions,
        pytest.raises(DataError, match="NaN or infinite scores in the rows P01_01_1, P01_01_4"),
    ):
        list(predictions.blocks())


def test_missing_and_damaged_files_are_errors(tmp_path):
    with pytest.raises(DataError, match="no such predictions file"):
        ShortTermPredictionsReader(tmp_path / "p.h5")
    path = write(tmp_path / "p.h5")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="cut off"):
        ShortTermPredictionsReader(path)


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        write(tmp_path / "no" / "p.h5")


def test_own_scores_of_verbs_and_nouns_come_back_after_the_actions(tmp_path):
    rows = np.arange(18, dtype=np.float32).reshape(2, 9)
    with ShortTermPredictionsWriter(tmp_path / "p.h5", 4, own=(2, 3)) as out:
        out.add(["a"], rows[:1])
        out.add(["b"], rows[1:])
    with ShortTermPredictionsReader(tmp_path / "p.h5") as predictions:
        assert (predictions.num_actions, predictions.own_sizes) == (4, (2, 3))
        ((ids, found),) = predictions.blocks()
        assert ids == ("a", "b")
        np.testing.assert_array_equal(found, rows)
        ((_, zeros),) = [part for part in predictions.aligned(["c"], "zero") if len(part[0])]
        assert zeros.shape == (1, 9)
