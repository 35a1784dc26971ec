import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from anticipate.datasets.assembly101 import read_annotation
from anticipate.datasets.file.dense_file import DenseStore
from anticipate.datasets.prepare import main
from anticipate.errors import DataError

VIDEO, SHORT = "assembly_nusar_a_C1_rgb", "assembly_nusar_a_e1_mono"
FIRST, LAST = 3, 25  # labelled frames of the fixture: 3 to 24


def prepare(source, *options):
    output = source.parent / "out.h5"
    common = ["--source", str(source), "--output", str(output), "--feature-dim", "8", "--force"]
    main(["prepare", "assembly101", *common, *options])
    return DenseStore(output)


def edit(path, line, text):
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines) + "\n")


def test_labels_start_at_the_first_segment_and_views_share_them(assembly101_arrays, capsys):
    store = prepare(assembly101_arrays)
    assert (store.dataset, store.fps) == ("assembly101", 30)
    assert store.classes == ("inspect toy", "attach cabin", "detach cabin")
    assert store.labels(VIDEO).tolist() == [0] * 7 + [1] * 15
    np.testing.assert_array_equal(store.labels(SHORT), store.labels(VIDEO))
    assert store.activity(VIDEO) == "assembly"
    assert store.splits == {
        "1": {
            "train": (VIDEO, SHORT),
            "test": ("assembly_nusar_b_C1_rgb", "assembly_nusar_b_e1_mono"),
        }
    }
    assert "2 train videos, the published release has 4684" in capsys.readouterr().err


def test_frames_beyond_the_end_of_a_view_have_no_features(assembly101_arrays):
    store = prepare(assembly101_arrays)
    assert (store.num_frames(VIDEO), store.num_feature_frames(VIDEO)) == (22, 22)
    assert (store.num_frames(SHORT), store.num_feature_frames(SHORT)) == (22, 20 + 1 - FIRST)


def test_array_columns_are_label_frame_numbers(assembly101_arrays, features_of):
    store = prepare(assembly101_arrays)
    expected = features_of("nusar_aC1_rgb", 30)[:, FIRST:LAST].T
    np.testing.assert_array_equal(store.features(VIDEO, 99, 1), expected)


def test_turned_arrays_are_turned_back_with_a_notice(assembly101_arrays, features_of, capsys):
    paths = list((assembly101_arrays / "features").glob("*/*/features.npy"))
    for path in paths:
        np.save(path, np.load(path).T)
    store = prepare(assembly101_arrays)
    expected = features_of("nusar_aC1_rgb", 30)[:, FIRST:LAST].T
    np.testing.assert_array_equal(store.features(VIDEO, 99, 1), expected)
    assert store.notes == {"features": "npy", "feature_files_turned": len(paths)}
    assert f"{len(paths)} files are frames x features" in capsys.readouterr().err


@pytest.mark.parametrize("stride", [1, 3])
def test_image_numbers_are_label_frame_numbers(assembly101, write_lmdb, features_of, stride):
    write_lmdb(assembly101 / "features")
    store = prepare(assembly101, "--stride", str(stride), "--workers", "3")
    expected = features_of("nusar_aC1_rgb", 31)[:, FIRST:LAST:stride].T
    np.testing.assert_array_equal(store.features(VIDEO, 99, stride), expected)
    assert store.num_feature_frames(SHORT) == 20 + 1 - FIRST
    assert store.notes == {"features": "lmdb"}
    assert store.verify() == []


def test_the_first_image_serves_frame_zero(assembly101, write_lmdb, features_of):
    write_lmdb(assembly101 / "features")
    labels = assembly101 / "coarse_labels" / "assembly_nusar_a.txt"
    labels.write_text("000000000\t000000010\tinspect toy\n")
    images = features_of("nusar_aC1_rgb", 31).T
    expected = images[[1, 1, 2, 3, 4, 5, 6, 7, 8, 9]]
    np.testing.assert_array_equal(prepare(assembly101).features(VIDEO, 99, 1), expected)


def test_images_that_end_early_shorten_the_features(assembly101, write_lmdb):
    write_lmdb(assembly101 / "features", skip=tuple(range(12, 31)))
    store = prepare(assembly101)
    assert store.num_feature_frames(VIDEO) == store.num_feature_frames(SHORT) == 11 + 1 - FIRST


def test_synthetic_features_cover_the_same_frames(assembly101):
    store = prepare(assembly101, "--synthesize-features")
    assert store.synthetic
    assert store.features(VIDEO, 99, 1).shape == (22, 8)
    assert store.num_feature_frames(SHORT) == 20 + 1 - FIRST


def without_labels(source):
    (source / "coarse_labels" / "assembly_nusar_a.txt").unlink()


def without_features(source):
    shutil.rmtree(source / "features" / "nusar_a")


def test_missing_files_can_be_left_out_and_are_counted(assembly101_arrays):
    shutil.rmtree(assembly101_arrays / "features" / "nusar_a" / "C1_rgb")
    store = prepare(assembly101_arrays, "--allow-missing")
    assert store.notes["videos_without_features"] == 1
    assert len(store.split(1, "train")) == 1
    assert len(store.video_ids) == 3


@pytest.mark.parametrize(
    ("remove", "what"), [(without_labels, "labels"), (without_features, "features")]
)
def test_a_part_of_a_split_is_never_emptied(assembly101_arrays, remove, what):
    remove(assembly101_arrays)
    with pytest.raises(
        DataError, match=rf"no train video left \(2 videos without {what}, left out"
    ):
        prepare(assembly101_arrays, "--allow-missing")


LABELS = "coarse_labels/assembly_nusar_a.txt"
EDITS = {
    (LABELS, 2, "11\t25\tattach cabin"): "nusar_a.txt:2: starts at frame 11, .* before ends at 10",
    (LABELS, 1, "3\t3\tinspect toy"): "nusar_a.txt:1: a segment from frame 3 to 3 is empty",
    (LABELS, 2, "10\t25\tattach"): "nusar_a.txt:2: unknown action 'attach', not in actions.csv",
    (LABELS, 2, "10 25 attach cabin"): "nusar_a.txt:2: expected start, end, action with TABs",
    (LABELS, 2, "10\tx\tattach cabin"): "nusar_a.txt:2: expected an integer, found 'x'",
    ("actions.csv", 3, "7,0,0,attach cabin,v,n"): "actions.csv:3: found id '7', expected 1",
    ("actions.csv", 3, "1,0,0,inspect toy,v,n"): "actions.csv:3: 'inspect toy' is .* line 2",
    ("actions.csv", 1, "a,b,c"): "actions.csv:1: no column 'action_id', found a, b, c",
    ("actions.csv", 2, "0,0"): "actions.csv:2: found 2 columns, expected 6",
    ("train.csv", 3, "1,nusar_a,C1_rgb,assembly,1,30"): f"train.csv:3: '{VIDEO}' is already",
    ("train.csv", 2, "0,nusar_b,C1_rgb,assembly,1,30"): "C1_rgb' is in train.csv and in val.csv",
    ("train.csv", 2, "0,nusar_a,C1_rgb,assembly,1,"): "train.csv:2: expected an integer",
    ("train.csv", 2, "0,nusar_a,C1_rgb,assembly,1,2"): "train.csv:2: the view ends at frame 2, ",
    ("train.csv", 2, "0,nope,C1_rgb,assembly,1,30"): "train.csv:2: label file .* is missing",
}


@pytest.mark.parametrize("edited", EDITS, ids=lambda edited: edited[2])
def test_every_fault_is_named_and_leaves_nothing_behind(assembly101_arrays, edited):
    name, line, text = edited
    edit(assembly101_arrays / name, line, text)
    with pytest.raises(DataError, match=EDITS[edited]):
        prepare(assembly101_arrays)
    assert not list(assembly101_arrays.parent.glob("out.h5*"))


def test_missing_features_are_named(assembly101_arrays):
    without_features(assembly101_arrays)
    with pytest.raises(DataError, match=rf"features: no features of 2 videos, .* '{VIDEO}'; expec"):
        prepare(assembly101_arrays)


def test_a_missing_image_is_named(assembly101, write_lmdb):
    write_lmdb(assembly101 / "features", skip=(5,))
    with pytest.raises(DataError, match=r"C1_rgb_0000000005.jpg' is missing, though later images"):
        prepare(assembly101)


def test_an_image_of_another_width_is_named(assembly101, write_lmdb):
    write_lmdb(assembly101 / "features", feature_dim=7)
    with pytest.raises(DataError, match=r"03.jpg' has 28 bytes, expected 8 float32 values; give"):
        prepare(assembly101)


def test_a_damaged_database_is_named(assembly101):
    for view in ("C1_rgb", "e1_mono"):
        (assembly101 / "features" / view).mkdir(parents=True)
        (assembly101 / "features" / view / "data.mdb").write_bytes(b"x" * 10_000)
    with pytest.raises(DataError, match=r"C1_rgb: not a readable LMDB"):
        prepare(assembly101)


@pytest.mark.labels
def test_the_real_lists_and_reconstructed_labels_fit_together(tmp_path):
    folder = os.environ.get("ANTICIPATE_LABELS")
    if folder is None:
        pytest.skip("ANTICIPATE_LABELS names no folder of real labels")
    source = Path(shutil.copytree(Path(folder) / "assembly101", tmp_path / "assembly101"))
    with tarfile.open(source / "coarse_labels_reconstructed.tar.xz") as archive:
        archive.extractall(source, filter="data")
    release, _ = read_annotation(source, allow_missing=True)
    assert len(release.classes) == 202
    # 250 of the 513 sequences of the lists have a label file: 2,277 + 696 of 6,108 views
    assert {part: len(ids) for part, ids in release.splits["1"].items()} == {
        "train": 2277,
        "test": 696,
    }
    assert release.notes == {"videos_without_labels": 3135}
