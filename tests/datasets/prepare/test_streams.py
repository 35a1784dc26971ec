"""Several kinds of features side by side: from databases, arrays or synthesis; their choice."""

import json
from fractions import Fraction

import h5py
import numpy as np
import pytest

from anticipate.cli import main
from anticipate.datasets.batches.buckets import Draw
from anticipate.datasets.epic_kitchens import EpicKitchens100
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.datasets.release.arrays import TickArrays
from anticipate.datasets.synthetic_actions import SyntheticActions
from anticipate.errors import ConfigError, DataError

VIDEOS = {"P01_01": 216, "P02_01": 291, "P03_101": 147}
"""Frames of each video of the release, and one more."""


def prepare(source, output, *options):
    main(["prepare", "ek100", "--source", str(source), "--output", str(output), *options])
    return output


def write_ticks(folder, width, fps=4, first=0.0, dtype="float32"):
    """Write arrays whose tick t is `first + t` in every column."""
    folder.mkdir(parents=True)
    for video, frames in VIDEOS.items():
        ticks = first + np.arange(-(-frames * fps // 30), dtype=dtype)
        np.save(folder / f"{video}.npy", np.repeat(ticks[:, None], width, axis=1))
    return folder


@pytest.fixture
def three(ek100, write_frames, tmp_path):
    """A file of the streams rgb (8), flow (3) and obj (5); frame, tick / 1000 and frame again."""
    frames = {video: range(1, last) for video, last in VIDEOS.items()}
    write_frames(tmp_path / "rgb", frames)
    write_frames(tmp_path / "obj", frames, feature_dim=5)
    write_ticks(tmp_path / "testra", 3, first=1000.0)
    folders = [f"--features={tmp_path / name}" for name in ("rgb", "testra", "obj")]
    words = ["--stream", "rgb=8", "flow", "obj=5", "--array-fps", "4"]
    return prepare(ek100, tmp_path / "three.h5", *folders, *words)


def test_streams_have_names_widths_and_columns(three):
    store = ShortTermStore(three)
    assert store.streams == {"rgb": 8, "flow": 3, "obj": 5}
    assert list(store.streams) == ["rgb", "flow", "obj"]
    frames = np.array([1, 8, 100])
    everything = store.features_at("P02_01", frames)
    assert everything.shape == (3, 16)
    flow = ShortTermStore(three, streams=["flow"])
    assert flow.feature_dim == 3
    np.testing.assert_array_equal(flow.features_at("P02_01", frames), everything[:, 8:11])
    turned = ShortTermStore(three, streams=["obj", "rgb"])
    expected = np.concatenate([everything[:, 11:], everything[:, :8]], axis=1)
    np.testing.assert_array_equal(turned.features_at("P02_01", frames), expected)
    assert list(turned.streams) == ["obj", "rgb"]


def test_a_chosen_stream_reaches_the_clips_and_inspect(three, capsys):
    data = EpicKitchens100(str(three), streams=["flow"], num_steps=2)
    assert (data.feature_dim, data.stream_dims) == (3, {"flow": 3})
    assert data.test_dataset[Draw(0, 0)].features.shape == (2, 3)
    capsys.readouterr()
    main(["inspect", str(three), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["streams"] == {"rgb": 8, "flow": 3, "obj": 5}
    rule = "testra: 4 ticks per second, tick t is frame 1 + floor(30 t / 4)"
    assert document["notes"]["features"][1].endswith(rule)
    main(["inspect", str(three), "--verify"])
    assert "rgb 8, flow 3, obj 5" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        (["audio"], r"streams names 'audio', but .* has rgb \(8\), flow \(3\), obj \(5\)"),
        (["rgb", "rgb"], "expected different names"),
        ([], "expected different names"),
    ],
)
def test_streams_that_are_not_there_are_refused(three, streams, message):
    with pytest.raises(ConfigError, match=message):
        EpicKitchens100(str(three), streams=streams).feature_dim  # noqa: B018


def test_widths_that_do_not_add_up_are_refused(three):
    with h5py.File(three, "r+") as file:
        file.attrs["streams"] = json.dumps({"rgb": 8, "flow": 4})
    with pytest.raises(DataError, match=r"do not add up .*: rgb 8 \+ flow 4, expected 16"):
        ShortTermStore(three).feature_dim  # noqa: B018


def test_a_file_without_names_is_one_unnamed_stream(three):
    with h5py.File(three, "r+") as file:
        del file.attrs["streams"]
    store = ShortTermStore(three)
    assert (dict(store.streams), store.feature_dim) == ({}, 16)
    with pytest.raises(ConfigError, match="has one unnamed stream of width 16"):
        ShortTermStore(three, streams=["rgb"]).feature_dim  # noqa: B018


@pytest.mark.parametrize(("stored", "rate"), [("4", "4"), ("4", "8"), ("2", "4"), ("30", "4")])
def test_a_frame_reads_the_last_tick_at_or_before_it(ek100, tmp_path, stored, rate):
    folder = write_ticks(tmp_path / "ticks", 2, int(rate))
    options = [f"--features={folder}", "--array-fps", rate, "--fps", stored]
    store = ShortTermStore(prepare(ek100, tmp_path / "file.h5", *options))
    for frame in range(1, 216):
        row = -(-frame * int(stored) // 30) - 1  # the last stored row at or before the frame ..
        shown = 1 + row * 30 // int(stored)
        tick = max(t for t in range(200) if 1 + 30 * t // int(rate) <= shown)  # .. reads this tick
        assert store.features_at("P01_01", np.array([frame]))[0].tolist() == [tick, tick]


def test_numbers_and_last_frames_of_ticks_are_inverse(tmp_path):
    ticks = TickArrays(tmp_path, 1, Fraction("7.5"))
    last = [ticks.last_frame("v", number) for number in range(1, 20)]
    assert ticks.numbers("v", np.array(last)).tolist() == list(range(1, 20))
    assert ticks.numbers("v", np.array(last) + 1).tolist() == list(range(2, 21))


def test_the_first_synthetic_stream_is_that_of_a_file_with_one(ek100, tmp_path):
    words = ["--synthesize-features", "--feature-dim", "8"]
    one = ShortTermStore(prepare(ek100, tmp_path / "one.h5", *words))
    words = ["--synthesize-features", "--stream", "rgb=8", "flow=8", "obj=4"]
    many = ShortTermStore(prepare(ek100, tmp_path / "many.h5", *words))
    assert (one.streams, many.streams) == ({"rgb": 8}, {"rgb": 8, "flow": 8, "obj": 4})
    assert many.synthetic
    rows = many.features_at("P02_01", np.array([50, 90]))
    np.testing.assert_array_equal(rows[:, :8], one.features_at("P02_01", np.array([50, 90])))
    assert not np.isclose(rows[:, :8], rows[:, 8:16]).any()


def test_synthetic_actions_have_streams_when_asked(tmp_path, actions_file):
    path = tmp_path / "streams.h5"
    sizes = ["--videos", "20", "--segments", "2", "--stream", "rgb=4", "obj=3"]
    main(["prepare", "synthetic_actions", "--output", str(path), *sizes])
    assert SyntheticActions(str(path), streams=["obj"]).stream_dims == {"obj": 3}
    assert SyntheticActions(str(actions_file)).stream_dims == {}


def _write_one(folder, array):
    write_ticks(folder, 2)
    np.save(folder / "P02_01.npy", array)


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (None, [], ".npy files do not tell their rate: add --array-fps"),
        (None, ["--array-fps", "4", "--stream", "rgb=3"], "arrays of width 2, expected 3"),
        (np.zeros((40, 3), "f4"), ["--array-fps", "4"], "expected floating point numbers of shape"),
        (np.zeros((40, 2), "i4"), ["--array-fps", "4"], "found int32 of shape (40, 2)"),
        (np.full((40, 2), np.nan, "f4"), ["--array-fps", "4"], "tick 0 holds NaN or infinity"),
        (np.zeros((9, 2), "f4"), ["--array-fps", "4"], "end at frame 67"),
        (None, ["--array-fps", "4", "--stream", "a", "a"], "--stream names 'a' twice"),
        (None, ["--array-fps", "4", "--stream", "a=0"], "expected a width of at least 1"),
        (None, ["--array-fps", "4", "--stream", "a", "b"], "nor its folder 'a' is an LMDB or has"),
    ],
)
def test_mistakes_are_one_line(ek100, tmp_path, capsys, array, options, message):
    folder = tmp_path / "ticks"
    if array is None:
        write_ticks(folder, 2)
    else:
        _write_one(folder, array)
    with pytest.raises(SystemExit) as exit_:
        prepare(ek100, tmp_path / "file.h5", f"--features={folder}", *options)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "file.h5").exists()


def test_more_folders_than_streams_are_refused(ek100, tmp_path, capsys):
    folders = [f"--features={write_ticks(tmp_path / name, 2)}" for name in "abc"]
    with pytest.raises(SystemExit):
        prepare(ek100, tmp_path / "f.h5", *folders, "--stream", "a", "b", "--array-fps", "4")
    assert "names 3 folders and --stream 2 streams" in capsys.readouterr().err
