import errno
import multiprocessing
import resource
import signal
import subprocess
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from anticipate.datasets.file.dense_file import DenseStore, DenseWriter, Header
from anticipate.datasets.release.releases import DenseRelease, LabelledVideo
from anticipate.datasets.release.write import Storage, write_dense
from anticipate.errors import DataError

HEADER = Header("toy", "dense", 15.0, 1, 3, "float32", True, "tests", ("a", "b"))
NAMES = [f"video_{i}" for i in range(4)]
SPLITS = {"1": {"train": NAMES[:3], "test": NAMES[3:]}}


def blocks(name, interrupt=None):
    generator = np.random.default_rng(NAMES.index(name))
    yield generator.standard_normal((6, 3))
    if interrupt is not None:
        raise interrupt
    yield generator.standard_normal((4, 3))


def write(path, recipe="recipe", interrupt_at=None, interrupt=None, **options):
    with DenseWriter(path, HEADER, recipe, **options) as writer:
        for name in NAMES:
            if not writer.has(name):
                fault = interrupt if name == interrupt_at else None
                labels = np.array([0, 1, 1, 0, 0, 0, 1, 1, 0, NAMES.index(name) // 2])
                writer.add_video(name, labels, blocks(name, fault), "making toys")
        writer.finish(SPLITS, {"note": 1})
    return path


def content(path):
    """Everything in a file: attributes and bytes of every object."""
    found = {}
    with h5py.File(path) as file:
        found["/"] = dict(file.attrs)
        file.visititems(
            lambda name, item: found.update(
                {name: (dict(item.attrs), item[()].tolist() if hasattr(item, "shape") else None)}
            )
        )
    return found


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_finished_file_has_its_final_name_and_right_checksums(tmp_path):
    path = write(tmp_path / "new" / "file.h5")
    assert files(path.parent) == ["file.h5"]
    store = DenseStore(path)
    assert store.verify() == []
    np.testing.assert_array_equal(
        store.features(NAMES[1], 10, 1), np.concatenate(list(blocks(NAMES[1]))).astype(np.float32)
    )
    with h5py.File(path) as file:
        assert set(file.attrs) == {
            *("format", "format_version", "kind", "dataset", "fps", "stride", "feature_dim"),
            *("dtype", "synthetic", "source", "created_by", "notes", "tables_sha256"),
        }


def test_equal_labels_are_stored_once(tmp_path):
    with h5py.File(write(tmp_path / "file.h5")) as file:
        offsets = [file[f"videos/{name}/labels"].id.get_offset() for name in NAMES]
    assert offsets[0] == offsets[1] != offsets[2] == offsets[3]


def test_an_existing_file_is_replaced_only_on_request(tmp_path):
    path = write(tmp_path / "file.h5")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"file.h5: exists already; replace it with --force"):
        write(path)
    assert path.read_bytes() == before
    write(path, recipe="other", overwrite=True)
    assert files(tmp_path) == ["file.h5"]


def test_a_failed_run_leaves_the_existing_file_alone(tmp_path):
    path = write(tmp_path / "file.h5")
    before = path.read_bytes()
    with pytest.raises(DataError, match="bad"):
        write(path, interrupt_at=NAMES[2], interrupt=DataError("bad"), overwrite=True)
    assert path.read_bytes() == before
    assert files(tmp_path) == ["file.h5"]


@pytest.mark.parametrize("interrupt_at", NAMES)
def test_an_interrupted_run_continues_to_the_same_file(tmp_path, capsys, interrupt_at):
    whole = content(write(tmp_path / "whole.h5"))
    path = tmp_path / "file.h5"
    with pytest.raises(KeyboardInterrupt):
        write(path, interrupt_at=interrupt_at, interrupt=KeyboardInterrupt())
    assert files(tmp_path) == ["file.h5.partial", "whole.h5"]
    assert "kept; the same command continues it" in capsys.readouterr().err
    assert content(write(path)) == whole
    written = NAMES.index(interrupt_at)
    assert f"continuing after {written} videos" in capsys.readouterr().err
    assert files(tmp_path) == ["file.h5", "whole.h5"]


def test_an_interrupted_run_of_another_recipe_starts_over(tmp_path, capsys):
    path = tmp_path / "file.h5"
    with pytest.raises(KeyboardInterrupt):
        write(path, recipe="old", interrupt_at=NAMES[3], interrupt=KeyboardInterrupt())
    assert content(write(path, recipe="new")) == content(write(tmp_path / "whole.h5"))
    assert "from another source, other settings or a crash; starting" in capsys.readouterr().err


def test_a_crashed_run_starts_over(tmp_path, capsys):
    path = tmp_path / "file.h5"
    with pytest.raises(KeyboardInterrupt):
        write(path, interrupt_at=NAMES[3], interrupt=KeyboardInterrupt())
    with h5py.File(f"{path}.partial", "r+") as file:
        file.attrs["closed"] = False
    write(path)
    assert "or a crash; starting from the beginning" in capsys.readouterr().err
    assert DenseStore(path).verify() == []


def test_a_damaged_partial_file_starts_over(tmp_path, capsys):
    partial = tmp_path / "file.h5.partial"
    partial.write_bytes(b"not HDF5")
    write(tmp_path / "file.h5")
    assert f"{partial}: damaged; starting from the beginning" in capsys.readouterr().err
    assert files(tmp_path) == ["file.h5"]


def test_a_second_writer_is_refused_and_the_first_goes_on(tmp_path):
    path = tmp_path / "file.h5"
    with (
        DenseWriter(path, HEADER, "recipe") as writer,
        multiprocessing.get_context("spawn").Pool(1) as pool,
    ):
        with pytest.raises(DataError, match="another process is writing this file"):
            pool.apply(DenseWriter.__enter__, (DenseWriter(path, HEADER, "recipe"),))
        writer.finish({}, {})
    assert files(tmp_path) == ["file.h5"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "no space left on the device; free some",
        ),
        (RuntimeError("write failed: No space left on device"), "no space left on the device"),
        (OSError(errno.EIO, "Input/output\nerror"), r"cannot be written: .* Input/output error"),
    ],
)
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch, error, message):
    def fail(*_):
        raise error

    monkeypatch.setattr(h5py.Dataset, "__setitem__", fail)
    with pytest.raises(DataError, match=message):
        write(tmp_path / "file.h5")
    assert files(tmp_path) == []


def test_a_write_that_the_system_refuses_is_told_and_leaves_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        header = HEADER._replace(feature_dim=1000)
        try:
            with DenseWriter(tmp_path / "file.h5", header, "recipe") as writer:
                writer.add_video("big", np.zeros(500, int), [np.ones((500, 1000))], "making toys")
                writer.finish({}, {})
        except DataError as error:
            queue.put(str(error))

    child = context.Process(target=limited)
    child.start()
    assert "file.h5.partial: cannot be written: " in queue.get(timeout=30)
    child.join()
    assert child.exitcode == 0
    assert files(tmp_path) == []


def test_blocks_that_do_not_fill_the_video_are_refused(tmp_path):
    with (
        pytest.raises(DataError, match="video short has 6 rows of features, expected 10"),
        DenseWriter(tmp_path / "file.h5", HEADER, "recipe") as writer,
    ):
        writer.add_video("short", np.zeros(10, int), [np.ones((6, 3))], "making toys")
    assert files(tmp_path) == []


def labelled(*labels):
    return LabelledVideo("a", np.array(labels, np.int16), "making toys", len(labels))


WRONG_RELEASES = {
    "no video found": {"videos": (), "splits": {}},
    "labels of video 'a' are 0 to 2, expected 0 to 1 for 2 classes": {"videos": (labelled(0, 2),)},
    "labels of video 'a' are -1 to 1": {"videos": (labelled(-1, 1),)},
    "split 1 lists the test video 'ghost', which is not among the 1 videos": {
        "splits": {"1": {"train": ["a"], "test": ["ghost"]}}
    },
}


@pytest.mark.parametrize("message", WRONG_RELEASES)
def test_a_release_that_could_not_be_trained_on_is_refused_first(tmp_path, message):
    splits = {"1": {"train": ["a"], "test": ["a"]}}
    release = DenseRelease("toy", 15.0, ("a", "b"), (labelled(0, 1),), splits, "here")
    release = release._replace(**WRONG_RELEASES[message])
    facts = {"describe": dict, "fingerprint": str, "rows": blocks}
    source = SimpleNamespace(feature_dim=3, synthetic=True, **facts)
    with pytest.raises(DataError, match=message):
        write_dense(release, source, Storage(tmp_path / "f.h5"))
    assert files(tmp_path) == []


def test_ctrl_c_waits_for_the_end_of_a_write(tmp_path):
    """In the middle of a write it would land in a callback of HDF5, which swallows it."""
    done = []

    def interrupted() -> None:
        with DenseWriter(tmp_path / "f.h5", HEADER, "recipe") as writer:
            with writer._writing():
                signal.raise_signal(signal.SIGINT)
                done.append("first")
            done.append("second")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["first"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


FULL_DISK = """
import sys
from anticipate.cli import main
from anticipate.errors import DataError
from anticipate.protocol.dense_predictions import DensePredictionsWriter
import numpy as np

folder = sys.argv[1]
try:
    with DensePredictionsWriter(f"{folder}/p.h5") as writer:
        for number in range(40):
            noise = np.random.default_rng(number).integers(0, 200, (25, 4000))
            writer.add(str(number), 0.2, noise)
except DataError as error:
    print(error)
main(["prepare", "synthetic", "--videos", "30", "--output", f"{folder}/data.h5"])
"""


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_no_crash(tmp_path):
    """HDF5 used to end the process by a segmentation fault at its exit."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", tmp_path]).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
        ended = subprocess.run(command, capture_output=True, text=True)
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert ended.returncode == 2, ended.stderr
    assert "p.h5: cannot be written" in ended.stdout
    assert "data.h5.partial: cannot be written: no space left on the device" in ended.stderr
