import multiprocessing
import os
import pickle
import shutil
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.cli import main
from anticipate.datasets.file.dense_file import DenseStore
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.errors import ConfigError, DataError
from anticipate.types import Taxonomy

TRAIN = [("P01_01", 10, 50, 0), ("P01_01", 60, 90, 1), ("P02_01", 5, 200, 4)]
VALIDATION = [("P03_01", 40, 70, 2)]
TEST = [("P04_01", 33, 44, 0)]


@pytest.fixture(scope="module")
def path(clip_store):
    return clip_store(
        *(TRAIN, VALIDATION, TEST),
        feature_fps="7.5",
        subsets={"unseen": ("P03_01_1000",), "tail_verb": ()},
        class_subsets={"many_shot_verb": (1, 3)},
    ).path


def test_facts_are_those_that_were_written(path):
    store = ShortTermStore(path)
    assert (store.dataset, store.kind, store.fps) == ("ek100", "short_term", 30)
    assert store.feature_fps == Fraction(15, 2)
    assert store.notes == {"made": "up"}
    assert store.classes == tuple(f"verb_{i} noun_{i}" for i in range(5))
    assert store.verbs == tuple(f"verb_{i}" for i in range(5))
    assert store.nouns == tuple(f"noun_{i}" for i in range(5))
    assert store.taxonomy == Taxonomy((0, 1, 2, 3, 4), (0, 1, 2, 3, 4), 5, 5)
    assert store.subsets == {"unseen": {"P03_01_1000"}, "tail_verb": set()}
    assert store.class_subsets == {"many_shot_verb": {1, 3}}
    assert store.num_rows == {"1": {"train": 3, "validation": 1, "test": 1}}
    assert store.participant("P02_01") == "P02"
    assert store.num_frames("P02_01") == 230
    assert store.verify() == []


@pytest.mark.parametrize(("part", "rows"), [("train", TRAIN), ("validation", VALIDATION)])
def test_segments_are_those_that_were_written(path, part, rows):
    table = ShortTermStore(path).rows(1, part)
    columns = (table.video_ids, table.starts, table.stops, table.actions)
    assert list(zip(*columns, strict=True)) == rows
    assert (table.verbs == table.actions).all()
    assert (table.nouns == table.actions).all()


def test_the_classes_of_test_segments_are_withheld(path):
    table = ShortTermStore(path).rows("1", "test")
    assert table.segment_ids == ("P04_01_2000",)
    assert [int(column[0]) for column in table.numbers] == [33, 44, -1, -1, -1]


@settings(max_examples=50, deadline=None)
@given(frames=st.lists(st.integers(-3, 260), min_size=1, max_size=30))
def test_each_frame_reads_the_row_stored_last_at_or_before_it(path, frames):
    """The features of a row are the number of its frame: frame 1 + floor(4 j) at 7.5 per second."""
    features = ShortTermStore(path).features_at("P02_01", np.array(frames))
    assert features.dtype == np.float32
    expected = [0 if n < 1 else min(n - (n - 1) % 4, 229) for n in frames]
    np.testing.assert_array_equal(features, np.repeat(np.array(expected)[:, None], 3, axis=1))


def test_what_is_read_belongs_to_the_caller(path):
    store, frames = ShortTermStore(path), np.arange(1, 9)
    first = store.features_at("P01_01", frames)
    expected = first.copy()
    first[:] = -1
    np.testing.assert_array_equal(store.features_at("P01_01", frames), expected)


def test_an_open_store_reads_in_other_processes(path):
    store, frames = ShortTermStore(path), np.array([1, 30])
    expected = store.features_at("P01_01", frames)
    copied = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(copied.features_at("P01_01", frames), expected)
    queue = multiprocessing.get_context("fork").Queue()
    child = multiprocessing.get_context("fork").Process(
        target=lambda: queue.put(store.features_at("P01_01", frames))
    )
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=30), expected)
    child.join()


def test_a_closed_store_opens_again(path):
    with ShortTermStore(path) as store:
        first = store.features_at("P01_01", np.array([5]))
    np.testing.assert_array_equal(store.features_at("P01_01", np.array([5])), first)


def test_unknown_names_are_refused(path):
    store = ShortTermStore(path)
    with pytest.raises(ConfigError, match="no split '2'; choose one of: 1"):
        store.rows(2, "train")
    with pytest.raises(ConfigError, match="split 1 has no part 'val', only train, validation, te"):
        store.rows(1, "val")
    with pytest.raises(DataError, match="no video 'P99' among its 4 videos"):
        store.features_at("P99", np.array([1]))


def test_a_file_of_the_other_kind_is_refused(path, synthetic_file):
    with pytest.raises(
        DataError, match=r"holds 'ek100', a data set for short-term anticipation, e"
    ):
        _ = DenseStore(path).classes
    with pytest.raises(
        DataError, match=r"'synthetic', .* dense anticipation, expected .* short-te"
    ):
        _ = ShortTermStore(synthetic_file).classes


def test_damage_is_found(path, tmp_path):
    copy = tmp_path / "copy.h5"
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        file["videos/P02_01/features"][0, 0] += 1
    assert ShortTermStore(copy).verify() == ["/videos/P02_01/features"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file["splits/1/train/action"].__setitem__(0, 3),
        lambda file: file["splits/1/train/id"].__setitem__(0, "P01_01_9"),
        lambda file: file["class_subsets/many_shot_verb"].__setitem__(0, 2),
        lambda file: file["videos/P02_01"].attrs.__setitem__("num_frames", 231),
        lambda file: file.attrs.__setitem__("fps", 29),
        lambda file: file.__delitem__("subsets/unseen"),
    ],
)
def test_a_changed_table_is_found(path, tmp_path, damage):
    copy = Path(shutil.copy(path, tmp_path / "copy.h5"))
    with h5py.File(copy, "r+") as file:
        damage(file)
    assert ShortTermStore(copy).verify() == ["tables"]


def test_a_file_of_the_first_version_has_no_checksum_of_tables(path, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    copy = Path(shutil.copy(path, tmp_path / "copy.h5"))
    with h5py.File(copy, "r+") as file:
        del file.attrs["tables_sha256"]
        file["splits/1/train/action"][0] = 3
    assert ShortTermStore(copy).verify() == []
    main(["inspect", str(copy), "--verify"])
    assert "no checksum of tables" in capsys.readouterr().out


def test_a_file_that_is_cut_while_it_is_read_is_an_error(path, tmp_path):
    copy = Path(shutil.copy(path, tmp_path / "copy.h5"))
    store = ShortTermStore(copy)
    frames = np.arange(1, 100)
    store.features_at("P02_01", frames)
    os.truncate(copy, 4096)
    with pytest.raises(DataError, match=r"copy.h5: was cut from [\d,]+ to 4,096 bytes"):
        store.features_at("P02_01", frames)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.__delitem__("splits"),
        lambda file: file.attrs.__setitem__("notes", "[1]"),
        lambda file: file.attrs.__setitem__("fps", "x"),
        lambda file: file.attrs.__delitem__("dataset"),
    ],
)
def test_a_file_that_makes_no_sense_is_one_line(path, tmp_path, capsys, damage):
    copy = Path(shutil.copy(path, tmp_path / "copy.h5"))
    with h5py.File(copy, "r+") as file:
        damage(file)
    with pytest.raises(SystemExit) as exit_:
        main(["inspect", str(copy)])
    assert exit_.value.code == 2
    assert f"anticipate: {copy}: damaged, or not written by anticipate" in capsys.readouterr().err
