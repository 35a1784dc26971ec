import os
from fractions import Fraction

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.cli import main
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.datasets.release.databases import NONE, REACH, present_frames, stand_ins

WIDTH = 8
VIDEOS = {"P01_01": range(1, 216), "P02_01": range(1, 291), "P03_101": range(1, 147)}


def prepare(source, output, *options, width=WIDTH):
    where = ("--source", str(source), "--output", str(output), "--feature-dim", str(width))
    main(["prepare", "ek100", *where, *options])
    return ShortTermStore(output)


def refused(capsys, source, output, *options):
    with pytest.raises(SystemExit) as exit_:
        prepare(source, output, *options)
    assert exit_.value.code == 2
    assert not output.exists()
    assert not output.with_name(output.name + ".partial").exists()
    return capsys.readouterr().err.splitlines()[-1]


def first_values(store, video, frames):
    return store.features_at(video, np.array(frames))[:, 0].tolist()


def reference_stand_in(frame, present):
    return next((n for n in range(frame, frame - REACH - 1, -1) if n in present), NONE)


@settings(max_examples=60, deadline=None)
@given(present=st.sets(st.integers(1, 120)), wanted=st.lists(st.integers(1, 140), max_size=20))
def test_the_nearest_earlier_frame_within_reach_stands_in(present, wanted):
    found = stand_ins(np.array(wanted, np.int64), np.array(sorted(present), np.int64))
    assert found.tolist() == [reference_stand_in(frame, present) for frame in wanted]


def test_the_frames_of_a_video_are_found_among_others(write_frames, tmp_path):
    write_frames(tmp_path / "rgb", {"P01_1": [3, 1, 12], "P01_10": [5], "P01_0": [7]})
    assert present_frames(tmp_path / "rgb", "P01_1").tolist() == [1, 3, 12]
    assert present_frames(tmp_path / "rgb", "P01_2").tolist() == []
    assert present_frames(tmp_path / "rgb", "P99").tolist() == []


def test_frames_at_30_per_second_are_exact(ek100, write_frames, tmp_path):
    write_frames(tmp_path / "rgb", VIDEOS)
    store = prepare(ek100, tmp_path / "f.h5", "--features", str(tmp_path / "rgb"), "--fps", "30")
    frames = list(range(1, 216))
    assert first_values(store, "P01_01", frames) == frames
    np.testing.assert_array_equal(
        store.features_at("P01_01", np.array([7]))[0], np.arange(7, 7 + WIDTH)
    )
    assert store.synthetic is False
    assert store.notes["num_missing_frames"] == store.notes["num_zero_frames"] == 0


def test_at_4_per_second_a_frame_reads_the_one_stored_before(ek100, write_frames, tmp_path):
    write_frames(tmp_path / "rgb", VIDEOS)
    store = prepare(ek100, tmp_path / "f.h5", "--features", str(tmp_path / "rgb"))
    assert first_values(store, "P02_01", [1, 7, 8, 15, 16, 290]) == [1, 1, 8, 8, 16, 286]


def test_streams_stand_side_by_side(ek100, write_frames, tmp_path):
    write_frames(tmp_path / "all" / "rgb", VIDEOS)
    write_frames(tmp_path / "flow", {name: [n + 50 for n in VIDEOS[name]] for name in VIDEOS})
    options = ("--features", str(tmp_path / "flow"), "--features", str(tmp_path / "all"))
    store = prepare(ek100, tmp_path / "f.h5", *options)
    assert store.feature_dim == 2 * WIDTH
    row = store.features_at("P01_01", np.array([61]))[0]
    np.testing.assert_array_equal(row, [*range(61, 69), *range(61, 69)])
    assert store.num_frames("P01_01") == 215


def test_the_stream_of_a_folder_is_chosen(ek100, write_frames, tmp_path, capsys):
    write_frames(tmp_path / "all" / "obj", VIDEOS)
    options = ("--features", str(tmp_path / "all"))
    store = prepare(ek100, tmp_path / "f.h5", *options, "--stream", "obj")
    assert store.feature_dim == WIDTH
    assert "nor its folder 'rgb' is an LMDB" in refused(capsys, ek100, tmp_path / "g.h5", *options)


def test_missing_frames_are_replaced_counted_and_told(ek100, write_frames, tmp_path, capsys):
    gap = {**VIDEOS, "P02_01": [n for n in VIDEOS["P02_01"] if not 20 <= n <= 40]}
    write_frames(tmp_path / "rgb", gap)
    store = prepare(ek100, tmp_path / "f.h5", "--features", str(tmp_path / "rgb"), "--fps", "30")
    assert first_values(store, "P02_01", [19, 20, 28, 29, 40, 41]) == [19, 19, 19, 0, 0, 41]
    assert store.notes["num_missing_frames"] == 21
    assert store.notes["num_zero_frames"] == 12
    assert "21 of 651 frames are missing" in capsys.readouterr().err


def test_native_frame_rates_are_converted(ek100, write_frames, tmp_path, capsys):
    rates = {"P01_01": "59.94", "P02_01": "50.0", "P03_101": "30"}
    images = {
        name: range(1, int(len(frames) * Fraction(rates[name]) / 30) + 1)
        for name, frames in VIDEOS.items()
    }
    write_frames(tmp_path / "rgb", images)
    info = tmp_path / "EPIC_100_video_info.csv"
    rows = "".join(f"{name},1.0,{rate},1920x1080\n" for name, rate in rates.items())
    info.write_text("video_id,duration,fps,resolution\n" + rows)
    options = ("--features", str(tmp_path / "rgb"), "--fps", "30")
    store = prepare(ek100, tmp_path / "f.h5", *options, "--native-fps", str(info))
    frames = np.array([1, 2, 29, 100, 199])
    assert first_values(store, "P02_01", frames) == (frames * 5 // 3).tolist()
    expected = [max(1, int(n * Fraction("59.94") / 30)) for n in frames.tolist()]
    assert first_values(store, "P01_01", frames) == expected
    assert [store.num_frames(name) for name in VIDEOS] == [215, 290, 146]
    info.write_text(info.read_text().replace("P02_01", "P02_02"))
    error = refused(capsys, ek100, tmp_path / "g.h5", *options, "--native-fps", str(info))
    assert "no frame rate for video 'P02_01'" in error
    info.write_text(info.read_text().replace("50.0", "fast"))
    error = refused(capsys, ek100, tmp_path / "g.h5", *options, "--native-fps", str(info))
    assert "video_info.csv:3: expected frames per second, found 'fast'" in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature_dim": 6}, "has 24 bytes, expected 8 float32 values; give another width with"),
        ({"dtype": "<f2"}, "has 16 bytes, expected 8 float32 values"),
        ({"dtype": "<f8"}, "has 64 bytes, expected 8 float32 values"),
    ],
)
def test_another_width_or_type_is_refused(ek100, write_frames, tmp_path, capsys, change, message):
    write_frames(tmp_path / "rgb", VIDEOS, **change)
    error = refused(capsys, ek100, tmp_path / "f.h5", "--features", str(tmp_path / "rgb"))
    assert "rgb: 'P01_01_frame_0000000001.jpg' " in error
    assert message in error


def test_segments_beyond_the_video_are_refused(ek100, write_frames, tmp_path, capsys):
    write_frames(tmp_path / "rgb", {**VIDEOS, "P02_01": range(1, 170)})
    options = ("--features", str(tmp_path / "rgb"))
    error = refused(capsys, ek100, tmp_path / "f.h5", *options)
    assert "segment 'P02_01_1' starts at frame 200, but the features of video 'P02_01' " in error
    assert "end at frame 169" in error


def test_a_video_without_frames_is_refused(ek100, write_frames, tmp_path, capsys):
    write_frames(tmp_path / "rgb", {"P01_01": VIDEOS["P01_01"]})
    error = refused(capsys, ek100, tmp_path / "f.h5", "--features", str(tmp_path / "rgb"))
    assert "no frames of video 'P02_01', expected keys such as 'P02_01_frame_0000000001" in error


def test_values_that_are_not_finite_are_refused(ek100, write_frames, tmp_path, capsys):
    write_frames(tmp_path / "rgb", VIDEOS, dtype="<f4")
    with (
        lmdb.open(str(tmp_path / "rgb"), map_size=1 << 24) as database,
        database.begin(write=True) as transaction,
    ):
        nan = np.full(WIDTH, np.nan, "<f4").tobytes()
        transaction.put(b"P02_01_frame_0000000008.jpg", nan)
    error = refused(capsys, ek100, tmp_path / "f.h5", "--features", str(tmp_path / "rgb"))
    assert "'P02_01_frame_0000000008.jpg' holds NaN or infinity" in error


def test_workers_do_not_change_the_file(ek100, write_frames, tmp_path):
    write_frames(tmp_path / "rgb", VIDEOS)
    options = ("--features", str(tmp_path / "rgb"), "--fps", "30")
    one = prepare(ek100, tmp_path / "one.h5", *options)
    three = prepare(ek100, tmp_path / "three.h5", *options, "--workers", "3")
    for video in VIDEOS:
        frames = np.arange(1, 300)
        np.testing.assert_array_equal(
            one.features_at(video, frames), three.features_at(video, frames)
        )


def test_a_cut_database_is_refused_before_it_is_mapped(ek100, write_frames, tmp_path, capsys):
    write_frames(tmp_path / "rgb", VIDEOS)
    file = tmp_path / "rgb" / "data.mdb"
    with lmdb.open(str(tmp_path / "rgb"), readonly=True) as database:
        pages = database.info()["last_pgno"] + 1
        os.truncate(file, pages // 2 * database.stat()["psize"])
    error = refused(capsys, ek100, tmp_path / "f.h5", "--features", str(tmp_path / "rgb"))
    assert "rgb: cut off: " in error
    assert "fetch it again" in error


def test_a_key_without_a_number_is_named(ek100, write_frames, tmp_path, capsys):
    write_frames(tmp_path / "rgb", VIDEOS)
    with lmdb.open(str(tmp_path / "rgb")) as database, database.begin(write=True) as transaction:
        transaction.put(b"P01_01_frame_last.jpg", bytes(4 * WIDTH))
    error = refused(capsys, ek100, tmp_path / "f.h5", "--features", str(tmp_path / "rgb"))
    assert "rgb: a key of video 'P01_01': expected an integer, found 'last'" in error
