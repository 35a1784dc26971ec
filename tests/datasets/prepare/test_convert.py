import signal
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from anticipate.catalog import class_at
from anticipate.cli import main
from anticipate.datasets.file.dense_file import DenseWriter
from anticipate.datasets.release.arrays import ArrayFeatures, ArraySlice, array_files
from anticipate.datasets.release.releases import LabelledVideo
from anticipate.datasets.release.write import read_ahead
from anticipate.errors import ConfigError, DataError

SYNTHETIC = ("prepare", "synthetic", "--videos", "8", "--feature-dim", "8")


def checksums(path):
    with h5py.File(path) as file:
        return {
            f"{name}/{array}": video[array].attrs["sha256"]
            for name, video in file["videos"].items()
            for array in ("labels", "features")
        }


def refused(capsys, *words):
    with pytest.raises(SystemExit) as exit_:
        main(list(words))
    assert exit_.value.code == 2
    return capsys.readouterr().err


def test_the_number_of_workers_changes_nothing(tmp_path):
    paths = [tmp_path / f"{workers}.h5" for workers in (1, 3)]
    for path, workers in zip(paths, ("1", "3"), strict=True):
        main([*SYNTHETIC, "--output", str(path), "--workers", workers])
    assert checksums(paths[0]) == checksums(paths[1])


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_read_ahead_keeps_the_order_and_few_blocks(workers):
    started, taken = [], []

    def stream(i):
        for block in range(3):
            started.append((i, block))
            yield np.array([i, block])

    with ThreadPoolExecutor(workers) as pool:
        for blocks in read_ahead((stream(i) for i in range(8)), pool, workers):
            for block in blocks:
                taken.append(tuple(block.tolist()))
                assert len(started) - len(taken) <= workers + 2
    assert taken == [(i, block) for i in range(8) for block in range(3)]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("stride", [1, 15])
def test_blocks_of_long_videos_stay_small(tmp_path, turned, stride):
    path, shape = tmp_path / "long.npy", (20_000, 2048) if turned else (2048, 20_000)
    np.lib.format.open_memmap(path, "w+", np.float32, shape).flush()  # sparse: takes no space
    source = ArrayFeatures(
        {"long": ArraySlice(array_files({"long": path}, 2048)["long"], 5)}, 2048, stride
    )
    video = LabelledVideo("long", np.zeros(19_000, np.int16), "walking", 19_000)
    sizes = [(len(block), block.nbytes) for block in source.rows(video)]
    assert sum(length for length, _ in sizes) == -(-19_000 // stride)
    assert max(size for _, size in sizes) <= 1 << 25


def test_ctrl_c_is_one_line_and_the_same_command_continues(tmp_path, capsys, monkeypatch):
    add_video = DenseWriter.add_video

    def interrupted_add_video(writer, video_id, *arguments):
        add_video(writer, video_id, *arguments)
        if video_id == "P02_cam01_tea":
            signal.raise_signal(signal.SIGINT)

    whole, path = tmp_path / "whole.h5", tmp_path / "file.h5"
    with monkeypatch.context() as patch:
        patch.setattr(DenseWriter, "add_video", interrupted_add_video)
        with pytest.raises(SystemExit) as exit_:
            main([*SYNTHETIC, "--output", str(path), "--workers", "2"])
    assert exit_.value.code == 130
    assert capsys.readouterr().err.endswith("continues it\nanticipate: interrupted\n")
    assert [file.name for file in tmp_path.iterdir()] == ["file.h5.partial"]
    main([*SYNTHETIC, "--output", str(path)])
    assert "continuing after 3 videos" in capsys.readouterr().err
    main([*SYNTHETIC, "--output", str(whole)])
    assert checksums(path) == checksums(whole)


def test_options_that_cannot_be_used_are_named(tmp_path, capsys):
    output = ("--output", str(tmp_path / "out.h5"))
    release = ("prepare", "breakfast", *output, "--source", str(tmp_path))
    assert "the following arguments are required: --output" in refused(capsys, *SYNTHETIC)
    assert "no data set 'epic': choose from 50salads" in refused(capsys, "prepare", "epic")
    assert "did you mean 'breakfast'?" in refused(capsys, "prepare", "breakfst")
    assert "its class, as mine.MyDataSet" in refused(capsys, "prepare", "mine.py")
    assert "required: DATASET" in refused(capsys, "prepare")
    assert "--stride: expected an integer" in refused(capsys, *SYNTHETIC, *output, "--stride", "0")
    assert "--noise: expected a number from 0" in refused(
        capsys, *SYNTHETIC, *output, "--noise", "-1"
    )
    assert "invalid choice: 'int8'" in refused(capsys, *SYNTHETIC, *output, "--dtype", "int8")
    assert "--source: no such folder: nope" in refused(
        capsys, "prepare", "50salads", *output, "--source", "nope"
    )
    both = (*release, "--features", str(tmp_path), "--synthesize-features")
    assert "not allowed with argument --features" in refused(capsys, *both)
    assert "mapping.txt: cannot read" in refused(capsys, *release)
    assert list(tmp_path.iterdir()) == []


OWN = """
from anticipate import Synthetic, DenseDataModule

class Renamed(Synthetic):
    dataset = "mine"

class Half(Synthetic):
    @classmethod
    def read_release(cls, options):
        return super().read_release(options)[0]

class NoSource(Synthetic):
    @classmethod
    def read_release(cls, options):
        return super().read_release(options)[0], "features"

class Nameless(DenseDataModule):
    group_of = staticmethod(str)
"""
MISTAKES = {
    "Renamed": "a release of the data set 'synthetic', but its own `dataset` is 'mine'",
    "Half": "Half.read_release returned DenseRelease: expected a DenseRelease or",
    "NoSource": "NoSource.read_release returned DenseRelease, str: expected a DenseRelease or",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_a_class_of_one_s_own_reads_is_checked(tmp_path, monkeypatch, capsys, name):
    (tmp_path / "own_sets.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    words = ("prepare", f"own_sets.{name}", "--videos", "8", "--output", str(tmp_path / "x.h5"))
    assert MISTAKES[name] in refused(capsys, *words)


def test_a_class_of_one_s_own_has_a_name_and_a_command(tmp_path, monkeypatch):
    (tmp_path / "own_sets.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="Nameless has no name: expected `dataset`"):
        class_at("own_sets.Nameless")("x.h5", 1)
    with pytest.raises(DataError, match=r"anticipate prepare own_sets\.Renamed --output x\.h5"):
        _ = class_at("own_sets.Renamed")("x.h5").store.dataset


def test_help_tells_the_options_of_a_release(capsys):
    with pytest.raises(SystemExit):
        main(["prepare", "assembly101", "--help"])
    text = capsys.readouterr().out
    for option in ("--source", "--output", "--features", "--dtype", "--stride", "--workers"):
        assert option in text
    for option in (
        "--allow-missing",
        "--synthesize-features",
        "--feature-dim",
        "--noise",
        "--seed",
    ):
        assert option in text
