import multiprocessing
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.datasets.file.dense_file import DenseStore, DenseWriter, Header
from anticipate.errors import ConfigError, DataError

NUM_FRAMES, COVERED, WIDTH = 50, 41, 6


def write_file(path: Path, dtype: str = "float16", stride: int = 2) -> Path:
    generator = np.random.default_rng(0)
    header = Header("toy", "dense", 12.5, stride, WIDTH, dtype, False, "tests", ("a", "b"))
    with DenseWriter(path, header, "recipe") as writer:
        for name, covered in (("whole", NUM_FRAMES), ("tail", COVERED)):
            labels = generator.integers(0, 2, NUM_FRAMES)
            rows = generator.standard_normal((-(-covered // stride), WIDTH))
            writer.add_video(name, labels, [rows[:7], rows[7:]], "making toys", covered)
        writer.finish({"1": {"train": ["whole"], "test": ["tail"]}, "2": {"train": []}}, {"cut": 1})
    return path


@pytest.fixture(scope="module", params=["float16", "float32"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_file(tmp_path_factory.mktemp("store") / "toy.h5", request.param)


def reference_features(path: Path, video: str, covered: int, stop: int, rate: int) -> np.ndarray:
    with h5py.File(path) as file:
        stored = file[f"videos/{video}/features"][:]
    rows = [stored[frame // 2] for frame in range(0, min(stop, covered), rate)]
    return np.array(rows, np.float32).reshape(-1, WIDTH)


def test_facts_are_those_that_were_written(path):
    store = DenseStore(path)
    assert (store.dataset, store.kind, store.fps, store.stride) == ("toy", "dense", 12.5, 2)
    assert (store.feature_dim, store.synthetic, store.source) == (WIDTH, False, "tests")
    assert store.notes == {"cut": 1}
    assert store.classes == ("a", "b")
    assert store.num_classes == 2
    assert store.video_ids == ("tail", "whole")
    assert store.splits == {"1": {"train": ("whole",), "test": ("tail",)}, "2": {"train": ()}}
    assert store.split(1, "test") == store.split("1", "test") == ("tail",)
    assert store.activity("tail") == "making toys"
    assert (store.num_frames("tail"), store.num_feature_frames("tail")) == (NUM_FRAMES, COVERED)


def test_a_whole_frame_rate_is_an_integer(synthetic_file):
    assert repr(DenseStore(synthetic_file).fps) == "10"


@settings(max_examples=60, deadline=None)
@given(stop=st.integers(0, NUM_FRAMES + 5), multiple=st.integers(1, 30), tail=st.booleans())
def test_features_are_the_sampled_rows_before_stop(path, stop, multiple, tail):
    video, covered = ("tail", COVERED) if tail else ("whole", NUM_FRAMES)
    features = DenseStore(path).features(video, stop, 2 * multiple)
    assert features.dtype == np.float32
    assert features.shape == (-(-min(stop, covered) // (2 * multiple)), WIDTH)
    expected = reference_features(path, video, covered, stop, 2 * multiple)
    np.testing.assert_array_equal(features, expected)


def test_rows_without_features_are_stored_as_zeros(path):
    with h5py.File(path) as file:
        stored = file["videos/tail/features"][:]
    assert stored.shape == (NUM_FRAMES // 2, WIDTH)
    assert not stored[-(-COVERED // 2) :].any()
    assert stored[: -(-COVERED // 2)].all(axis=1).all()


def test_labels_belong_to_the_caller(path):
    store = DenseStore(path)
    with h5py.File(path) as file:
        expected = file["videos/whole/labels"][:]
    labels = store.labels("whole")
    np.testing.assert_array_equal(labels, expected)
    labels[:] = 5
    np.testing.assert_array_equal(store.labels("whole"), expected)


@pytest.mark.parametrize("rate", [0, 1, 3, -2])
def test_a_sample_rate_that_the_stride_does_not_divide_is_refused(path, rate):
    with pytest.raises(ConfigError, match=rf"stored every 2 frames.* multiple of 2, not {rate};"):
        DenseStore(path).features("whole", 10, rate)


def test_unknown_names_are_refused(path):
    store = DenseStore(path)
    with pytest.raises(ConfigError, match="no split '7'; choose one of: 1, 2"):
        store.split(7, "train")
    with pytest.raises(ConfigError, match="split 2 has no part 'test', only train"):
        store.split(2, "test")
    with pytest.raises(DataError, match="no video 'P99' among its 2 videos"):
        store.labels("P99")


def test_an_open_store_reads_in_a_forked_process(path):
    store = DenseStore(path)
    expected = store.features("whole", NUM_FRAMES, 2)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put(store.features("whole", NUM_FRAMES, 2)))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=30), expected)
    child.join()
    np.testing.assert_array_equal(store.features("whole", NUM_FRAMES, 2), expected)


def test_an_open_store_can_be_sent_to_a_spawned_process(path):
    store = DenseStore(path)
    expected = store.features("whole", NUM_FRAMES, 2)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        features = pool.apply(store.features, ("whole", NUM_FRAMES, 2))
    np.testing.assert_array_equal(features, expected)


def test_a_closed_store_opens_again(path):
    with DenseStore(path) as store:
        first = store.labels("whole")
    np.testing.assert_array_equal(store.labels("whole"), first)


def test_a_missing_file_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(DataError, match=r"no.h5: no such data file; make it with: anticipate fit"):
        _ = DenseStore(tmp_path / "no.h5", make_with="anticipate fit").classes


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_file_cut_off_is_refused(path, tmp_path, keep):
    content = path.read_bytes()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    with pytest.raises(
        DataError, match=r"cut.h5: not an HDF5 file, or one that was cut off .*make"
    ):
        _ = DenseStore(cut).classes


def test_a_file_that_another_program_writes_is_named_as_such(path, monkeypatch):
    def locked(*_: object) -> None:
        raise BlockingIOError("unable to lock file, errno = 11")

    monkeypatch.setattr(h5py, "File", locked)
    with pytest.raises(DataError, match="another program holds it open for writing"):
        _ = DenseStore(path).classes


def test_an_hdf5_file_of_another_format_is_refused(path, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    with pytest.raises(DataError, match=r"other.h5: an HDF5 file of format None version None"):
        _ = DenseStore(tmp_path / "other.h5").classes
    newer = Path(shutil.copy(path, tmp_path / "newer.h5"))
    with h5py.File(newer, "r+") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(
        DataError, match="format anticipate version 2, expected anticipate version 1"
    ):
        _ = DenseStore(newer).classes


@pytest.mark.parametrize("array", ["labels", "features"])
def test_verify_names_exactly_the_damaged_array(path, tmp_path, array):
    copy = Path(shutil.copy(path, tmp_path / "copy.h5"))
    assert DenseStore(copy).verify() == []
    with h5py.File(copy) as file:
        offset = file[f"videos/tail/{array}"].id.get_offset()
    with copy.open("r+b") as raw:
        raw.seek(offset + 3)
        byte = raw.read(1)
        raw.seek(offset + 3)
        raw.write(bytes([byte[0] ^ 1]))
    assert DenseStore(copy).verify() == [f"/videos/tail/{array}"]


def test_verify_finds_a_changed_split_and_a_cut_file_is_an_error(path, tmp_path):
    copy = Path(shutil.copy(path, tmp_path / "copy.h5"))
    with h5py.File(copy, "r+") as file:
        part = next(iter(next(iter(file["splits"].values())).values()))
        part[0] = "another"
    store = DenseStore(copy)
    assert store.verify() == ["tables"]
    os.truncate(copy, 4096)
    with pytest.raises(DataError, match=r"copy.h5: was cut from [\d,]+ to 4,096 bytes"):
        store.labels("tail")
