"""The predictions file: what is written comes back, and only whole files get their name."""

import h5py
import numpy as np
import pytest

from anticipate.errors import DataError
from anticipate.protocol.dense_predictions import DensePredictionsReader, DensePredictionsWriter
from anticipate.types import NO_LABEL


def sampled(num_samples=3, num_frames=40, num_classes=48):
    return np.random.default_rng(0).integers(num_classes, size=(num_samples, num_frames))


def test_predictions_and_attributes_survive_the_round_trip(tmp_path):
    preds = sampled()
    with DensePredictionsWriter(
        tmp_path / "p.h5", dataset="breakfast", split=1, synthetic=True
    ) as out:
        out.add("b", 0.3, preds)
        out.add("a", 0.2, preds + 1)
        out.add("b", 0.2, preds)
    with DensePredictionsReader(tmp_path / "p.h5") as predictions:
        assert predictions.attributes == {"dataset": "breakfast", "split": 1, "synthetic": True}
        assert predictions.video_ids == ("a", "b")
        assert predictions.obs_ratios == (0.2, 0.3)
        np.testing.assert_array_equal(predictions.read("a", 0.2), preds + 1)
        np.testing.assert_array_equal(predictions.read("b", 0.3), preds)
        assert predictions.has("b", 0.3)
        assert not predictions.has("a", 0.3)
        assert not predictions.has("c", 0.2)


@pytest.mark.parametrize(("largest", "dtype"), [(47, np.uint8), (255, np.uint8), (256, np.uint16)])
def test_the_smallest_type_that_holds_the_classes_is_stored(tmp_path, largest, dtype):
    preds = np.full((2, 5), largest, np.int64)
    with DensePredictionsWriter(tmp_path / "p.h5") as out:
        out.add("a", 0.2, preds)
    with DensePredictionsReader(tmp_path / "p.h5") as predictions:
        found = predictions.read("a", 0.2)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, preds)


def test_no_class_survives_the_round_trip(tmp_path):
    preds = np.array([[47, NO_LABEL, 3], [201, 0, NO_LABEL]])
    with DensePredictionsWriter(tmp_path / "p.h5") as out:
        out.add("a", 0.2, preds)
    with DensePredictionsReader(tmp_path / "p.h5") as predictions:
        np.testing.assert_array_equal(predictions.read("a", 0.2), preds)


def test_long_runs_take_little_space(tmp_path):
    preds = np.repeat(sampled(num_samples=25, num_frames=10), 200, axis=1)
    with DensePredictionsWriter(tmp_path / "p.h5") as out:
        out.add("a", 0.2, preds)
    with h5py.File(tmp_path / "p.h5") as file:
        assert file["a/obs_0.2"].id.get_storage_size() < preds.size / 20


def test_the_layout_is_that_of_the_documentation(tmp_path):
    with DensePredictionsWriter(tmp_path / "p.h5") as out:
        out.add("a", 0.2, sampled())
    with h5py.File(tmp_path / "p.h5") as file:
        assert file["a/obs_0.2"].shape == (3, 40)
        assert file["a/obs_0.2"].dtype.kind == "u"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_an_interrupted_writer_leaves_nothing_and_keeps_the_file_before(tmp_path, failure):
    path = tmp_path / "p.h5"
    path.write_text("before")

    def write():
        with DensePredictionsWriter(path) as out:
            out.add("a", 0.2, sampled())
            raise failure

    with pytest.raises(failure):
        write()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    with (
        pytest.raises(DataError, match=r"p\.h5: cannot be written"),
        DensePredictionsWriter(tmp_path / "no" / "p.h5"),
    ):
        pass


def test_a_failed_write_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    def disk_full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", disk_full)
    with (
        pytest.raises(DataError, match="No space left on device"),
        DensePredictionsWriter(tmp_path / "p.h5") as out,
    ):
        out.add("a", 0.2, sampled())
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no such predictions file"):
        DensePredictionsReader(tmp_path / "p.h5")


def test_a_file_of_another_kind_is_an_error(tmp_path):
    (tmp_path / "p.h5").write_text("obs_0.2")
    with pytest.raises(DataError, match="not an HDF5 file"):
        DensePredictionsReader(tmp_path / "p.h5")


def test_a_file_cut_in_half_is_an_error(tmp_path):
    path = tmp_path / "p.h5"
    with DensePredictionsWriter(path) as out:
        out.add("a", 0.2, sampled())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"p\.h5: .*cut off"):
        DensePredictionsReader(path)


def test_damaged_bytes_are_an_error_that_names_the_array(tmp_path):
    path = tmp_path / "p.h5"
    with DensePredictionsWriter(path) as out:
        out.add("a", 0.2, sampled(num_frames=4000))
    with h5py.File(path) as file:
        chunk = file["a/obs_0.2"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    with (
        DensePredictionsReader(path) as predictions,
        pytest.raises(DataError, match=r"a/obs_0\.2 is damaged"),
    ):
        predictions.read("a", 0.2)


@pytest.mark.parametrize(
    "name", ["0.2", "preds", "obs_", "obs_x", "obs_1.5", "obs_0", "obs_-0.2", "obs_².1"]
)
def test_an_unknown_name_is_an_error(tmp_path, name):
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file[f"a/{name}"] = sampled()
    with pytest.raises(DataError, match=rf"'a/{name}' is no known name; expected obs_"):
        DensePredictionsReader(tmp_path / "p.h5")


def test_an_array_at_the_top_is_an_error(tmp_path):
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file["obs_0.2"] = sampled()
    with pytest.raises(DataError, match="one group per video id"):
        DensePredictionsReader(tmp_path / "p.h5")


@pytest.mark.parametrize("groups", [[], ["a"]])
def test_a_file_without_predictions_is_an_error(tmp_path, groups):
    with h5py.File(tmp_path / "p.h5", "w") as file:
        for group in groups:
            file.create_group(group)
    with pytest.raises(DataError, match="no predictions inside"):
        DensePredictionsReader(tmp_path / "p.h5")


def test_one_ratio_written_twice_is_an_error(tmp_path):
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file["a/obs_0.2"] = file["a/obs_0.20"] = sampled()
    with pytest.raises(DataError, match=r"'obs_0\.2' and 'obs_0\.20' of video 'a' are one"):
        DensePredictionsReader(tmp_path / "p.h5")
