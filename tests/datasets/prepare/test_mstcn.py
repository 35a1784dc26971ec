import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from anticipate.datasets.breakfast import Breakfast
from anticipate.datasets.file.dense_file import DenseStore, DenseWriter
from anticipate.datasets.prepare import main
from anticipate.datasets.release import mstcn
from anticipate.errors import DataError

CEREALS = "P03_cam01_P03_cereals"
MILK = "P16_cam01_P16_milk"


def prepare(source, *options, dataset="breakfast"):
    output = source.parent / "out.h5"
    common = ["--source", str(source), "--output", str(output), "--feature-dim", "8", "--force"]
    main(["prepare", dataset, *common, *options])
    return DenseStore(output)


def edit(path, line, text):
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines) + "\n")


def test_a_release_arrives_whole(breakfast, features_of, capsys):
    store = prepare(breakfast)
    assert store.dataset == "breakfast"
    assert store.fps == 15
    assert store.classes == ("SIL", "pour_milk", "stir_cereals")
    assert store.splits == {
        "1": {
            "train": (MILK, "P17_cam01_P17_milk"),
            "test": (CEREALS, "P03_cam02_P03_cereals"),
        }
    }
    assert (store.activity(CEREALS), store.activity(MILK)) == ("cereals", "milk")
    assert store.labels(MILK).tolist() == [0] * 5 + [1] * 14 + [2] * 3
    np.testing.assert_array_equal(store.features(MILK, 22, 1), features_of(MILK, 22).T)
    assert store.source == str(breakfast)
    assert not store.synthetic
    assert store.notes == {"features": "npy"}
    assert store.verify() == []
    notices = capsys.readouterr().err
    assert "breakfast: 4 videos, the published release has 1712" in notices
    assert "breakfast: 3 classes, the published release has 48" in notices


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_stride_keeps_every_nth_frame_and_all_labels(breakfast, features_of, dtype):
    store = prepare(breakfast, "--stride", "4", "--dtype", dtype)
    assert (store.stride, store.dtype, store.num_frames(MILK)) == (4, dtype, 22)
    expected = features_of(MILK, 22).T[::8].astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(store.features(MILK, 22, 8), expected)


def test_50salads_shows_one_activity_at_30_fps(breakfast):
    store = prepare(breakfast, dataset="50salads")
    assert (store.dataset, store.fps) == ("50salads", 30)
    assert {store.activity(video_id) for video_id in store.video_ids} == {"salad"}


def test_features_elsewhere_are_found(breakfast):
    expected = prepare(breakfast).features(MILK, 22, 1)
    (breakfast / "features").rename(breakfast / "i3d")
    store = prepare(breakfast, "--features", str(breakfast / "i3d"))
    np.testing.assert_array_equal(store.features(MILK, 22, 1), expected)


def test_turned_features_are_turned_back_with_a_notice(breakfast, features_of, capsys):
    paths = list((breakfast / "features").glob("*.npy"))
    for path in paths:
        np.save(path, np.load(path).T)
    store = prepare(breakfast)
    np.testing.assert_array_equal(store.features(MILK, 22, 1), features_of(MILK, 22).T)
    assert store.notes["feature_files_turned"] == len(paths)
    assert (
        f"{len(paths)} files are frames x features, not features x frames; transposed"
        in capsys.readouterr().err
    )


def test_column_order_in_the_file_does_not_matter(breakfast, features_of):
    np.save(breakfast / "features" / f"{MILK}.npy", np.asfortranarray(features_of(MILK, 22)))
    store = prepare(breakfast)
    np.testing.assert_array_equal(store.features(MILK, 22, 1), features_of(MILK, 22).T)
    assert "feature_files_turned" not in store.notes


@pytest.mark.parametrize("difference", [-5, 21])
def test_a_small_difference_of_length_is_cut_with_a_notice(
    breakfast, features_of, capsys, difference
):
    features = features_of(MILK, 22 + difference)
    np.save(breakfast / "features" / f"{MILK}.npy", features)
    store = prepare(breakfast)
    length = min(22, 22 + difference)
    assert store.num_frames(MILK) == store.num_feature_frames(MILK) == length
    np.testing.assert_array_equal(store.features(MILK, 99, 1), features.T[:length])
    assert store.notes["videos_cut"] == 1
    assert store.notes["most_frames_cut"] == abs(difference)
    said = capsys.readouterr().err
    assert f"in 1 videos labels and features differ by up to {abs(difference)} frames" in said


def without_labels(source):
    (source / "groundTruth" / f"{MILK}.txt").unlink()


def without_features(source):
    (source / "features" / f"{MILK}.npy").unlink()


@pytest.mark.parametrize(
    ("remove", "note"),
    [(without_labels, "videos_without_labels"), (without_features, "videos_without_features")],
)
def test_missing_files_can_be_left_out_and_are_counted(breakfast, capsys, remove, note):
    remove(breakfast)
    store = prepare(breakfast, "--allow-missing")
    assert MILK not in store.video_ids
    assert store.split(1, "train") == ("P17_cam01_P17_milk",)
    assert store.notes[note] == 1
    assert "1 videos without" in capsys.readouterr().err


def unknown_label(source):
    edit(source / "groundTruth" / f"{MILK}.txt", 9, "pour_tea")


def empty_video(source):
    (source / "groundTruth" / f"{MILK}.txt").write_text("")


def binary_labels(source):
    (source / "groundTruth" / f"{MILK}.txt").write_bytes(b"\xff\xfe")


def twice_in_a_bundle(source):
    edit(source / "splits" / "train.split1.bundle", 2, f"{MILK}.txt")


def in_train_and_test(source):
    edit(source / "splits" / "test.split1.bundle", 2, f"{MILK}.txt")


def half_a_split(source):
    (source / "splits" / "test.split1.bundle").unlink()


def misnamed_bundle(source):
    (source / "splits" / "val.split1.bundle").write_text("x.txt\n")


def no_bundles(source):
    shutil.rmtree(source / "splits")


def class_out_of_order(source):
    edit(source / "mapping.txt", 2, "2 pour_milk")


def class_twice(source):
    edit(source / "mapping.txt", 2, "1 SIL")


def no_mapping(source):
    (source / "mapping.txt").unlink()


def wrong_width(source):
    np.save(source / "features" / f"{MILK}.npy", np.zeros((9, 22), np.float32))


def integers(source):
    np.save(source / "features" / f"{MILK}.npy", np.zeros((8, 22), np.int32))


def no_frames(source):
    np.save(source / "features" / f"{MILK}.npy", np.zeros((8, 0), np.float32))


def too_long(source):
    np.save(source / "features" / f"{MILK}.npy", np.zeros((8, 44), np.float32))


def cut_array(source):
    path = source / "features" / f"{MILK}.npy"
    path.write_bytes(path.read_bytes()[:-1])


def no_array(source):
    (source / "features" / f"{MILK}.npy").write_text("frames")


def not_a_number(source):
    features = np.zeros((8, 22), np.float32)
    features[3, 17] = np.nan
    np.save(source / "features" / f"{MILK}.npy", features)


def infinite(source):
    features = np.zeros((8, 22), np.float32)
    features[0, 2] = -np.inf
    np.save(source / "features" / f"{MILK}.npy", features)


FAULTS = {
    without_labels: rf"train.split1.bundle:1: label file .*{MILK}.txt is missing",
    without_features: rf"{MILK}.npy: no such feature file; give its folder with --features",
    unknown_label: rf"{MILK}.txt:9: unknown label 'pour_tea', not in mapping.txt",
    empty_video: rf"{MILK}.txt: empty, expected one label per frame",
    binary_labels: rf"{MILK}.txt: expected one label per frame, found no UTF-8 text",
    twice_in_a_bundle: rf"train.split1.bundle:2: '{MILK}' is already on line 1; remove one",
    in_train_and_test: rf"'{MILK}' is in train and in test of split 1",
    half_a_split: r"split 1 has only train, expected train and test",
    misnamed_bundle: r"val.split1.bundle: expected a name like train.split1.bundle",
    no_bundles: r"splits: holds no bundles, expected train.split1.bundle",
    class_out_of_order: r"mapping.txt:2: found '2 pour_milk', expected '1 NAME'",
    class_twice: r"mapping.txt:2: 'SIL' is already on line 1",
    no_mapping: r"mapping.txt: cannot read one 'id name' per line: No such file",
    wrong_width: rf"{MILK}.npy: found an array of shape \(9, 22\), expected \(8, frames\); .*-dim",
    integers: rf"{MILK}.npy: found numbers of type int32, expected floating point",
    no_frames: rf"{MILK}.npy: has no frames",
    too_long: rf"{MILK}.npy: 44 frames of features, but '{MILK}' has 22 labels; .* most 21 is cut",
    cut_array: rf"{MILK}.npy: not a complete .npy file",
    no_array: rf"{MILK}.npy: not a complete .npy file",
    not_a_number: rf"{MILK}.npy: frame 17 holds NaN or infinity",
    infinite: rf"{MILK}.npy: frame 2 holds NaN or infinity",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_every_fault_is_named_and_leaves_nothing_behind(breakfast, fault):
    fault(breakfast)
    with pytest.raises(DataError, match=FAULTS[fault]):
        prepare(breakfast)
    assert not list(breakfast.parent.glob("out.h5*"))


def test_a_value_beyond_float16_is_named(breakfast):
    features = np.full((8, 22), 1e5, np.float32)
    np.save(breakfast / "features" / f"{MILK}.npy", features)
    with pytest.raises(DataError, match=rf"'{MILK}' reach 1e\+05, beyond float16; use --dtype"):
        prepare(breakfast, "--dtype", "float16")
    assert prepare(breakfast).features(MILK, 1, 1)[0, 0] == 1e5


def test_changed_features_are_not_mixed_with_those_of_an_interrupted_run(breakfast, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DenseWriter, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(breakfast)
    np.save(breakfast / "features" / f"{MILK}.npy", np.ones((8, 22), np.float32))
    assert prepare(breakfast).features(MILK, 22, 1).min() == 1
    assert "starting from the beginning" in capsys.readouterr().err


@pytest.mark.labels
def test_the_real_release_has_the_published_counts(tmp_path, capsys):
    folder = os.environ.get("ANTICIPATE_LABELS")
    if folder is None:
        pytest.skip("ANTICIPATE_LABELS names no folder of real labels")
    with tarfile.open(Path(folder) / "breakfast.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    source = next(tmp_path.rglob("mapping.txt")).parent
    release = mstcn.read_annotation("breakfast", Breakfast.published, Breakfast.activity_of, source)
    assert capsys.readouterr().err == ""  # no notice: every count is the published one
    assert len(release.videos) == Breakfast.published.num_videos
    # counted over the label files: 3,590,899 frames, the longest video has 9,741
    lengths = [len(video.labels) for video in release.videos]
    assert (sum(lengths), min(lengths), max(lengths)) == (3_590_899, 130, 9_741)
    assert len({video.activity for video in release.videos}) == 10


def turn(path):
    np.save(path, np.load(path).T)


def test_a_square_file_follows_the_others(breakfast):
    """8 channels, 8 frames: the axes look alike, and the other files are frames x channels."""
    square = np.arange(64, dtype=np.float32).reshape(8, 8)
    (breakfast / "groundTruth" / f"{MILK}.txt").write_text("SIL\n" * 8)
    for path in (breakfast / "features").glob("*.npy"):
        turn(path)
    np.save(breakfast / "features" / f"{MILK}.npy", square)
    np.testing.assert_array_equal(prepare(breakfast).features(MILK, 8, 1), square)


def test_both_layouts_are_refused_and_the_option_decides(breakfast, features_of):
    turn(breakfast / "features" / f"{MILK}.npy")
    with pytest.raises(DataError, match=r"is channels x frames and .* frames x channels: .*--lay"):
        prepare(breakfast)
    store = prepare(breakfast, "--layout", "channels-first")
    np.testing.assert_array_equal(store.features(MILK, 22, 1), features_of(MILK, 22).T)


@pytest.mark.parametrize("layout", ["channels-first", "frames-first"])
def test_square_files_alone_need_the_option(breakfast, layout):
    square = np.arange(64, dtype=np.float32).reshape(8, 8)
    for path in (breakfast / "features").glob("*.npy"):
        (breakfast / "groundTruth" / f"{path.stem}.txt").write_text("SIL\n" * 8)
        np.save(path, square)
    with pytest.raises(DataError, match=r"as many frames as channels, as all others .*--layout"):
        prepare(breakfast)
    expected = square if layout == "frames-first" else square.T
    store = prepare(breakfast, "--layout", layout)
    np.testing.assert_array_equal(store.features(MILK, 8, 1), expected)


def test_marks_blanks_and_empty_lines_at_the_end_say_nothing(breakfast):
    for path in [*breakfast.rglob("*.txt"), *breakfast.rglob("*.bundle")]:
        lines = path.read_text().splitlines()
        path.write_text("\ufeff" + "".join(f"{line}  \r\n" for line in lines) + "\n\n")
    store = prepare(breakfast)
    assert MILK in store.video_ids
    assert store.classes[0] == "SIL"


def test_an_empty_line_before_the_end_is_named(breakfast):
    path = breakfast / "groundTruth" / f"{MILK}.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], "", *lines[3:]]))
    with pytest.raises(DataError, match=rf"{MILK}.txt:4: an empty line, expected one label per"):
        prepare(breakfast)


@pytest.mark.parametrize("video_id", ["a/b", "../x", "/abs", ".", "..", "a\\b"])
def test_ids_that_would_become_paths_are_refused(breakfast, video_id):
    path = breakfast / "splits" / "train.split1.bundle"
    path.write_text(f"{video_id}.txt\n{path.read_text()}")
    with pytest.raises(DataError, match=r"train.split1.bundle:1: the id of a video is .*without"):
        prepare(breakfast)


def test_an_archive_named_npy_is_named(breakfast):
    path = breakfast / "features" / f"{MILK}.npy"
    np.savez(path.with_suffix(""), features=np.load(path))
    path.with_suffix(".npz").rename(path)
    with pytest.raises(DataError, match=r"archive of several arrays .*numpy.save"):
        prepare(breakfast)
