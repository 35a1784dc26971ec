"""Fixtures that several parts of the tests need."""

import fcntl
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import chdir
from fractions import Fraction
from functools import cache
from pathlib import Path

import lightning.pytorch  # noqa: F401  its log handler must meet the stderr of the session, not of one test
import numpy as np
import pytest

from anticipate.catalog import data_sets
from anticipate.datasets.file.segment_table import SegmentTable
from anticipate.datasets.file.short_term_file import FeatureFormat, ShortTermWriter
from anticipate.datasets.prepare import main
from anticipate.datasets.release.releases import RecordedVideo, ShortTermRelease, Vocabulary
from tests.tiny import Commands


@pytest.fixture(scope="session", autouse=True)
def usual_ctrl_c() -> None:
    """Handle SIGINT as usual: the background jobs of a shell inherit that it is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


Shared = Callable[[str, Callable[[], None]], Path]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Fill a folder once for all processes of the tests; the others wait for the first."""
    base = tmp_path_factory.getbasetemp()
    base = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"

    def once(name: str, fill: Callable[[], None]) -> Path:
        folder, filled = base / name, base / f"{name}.filled"
        folder.mkdir(parents=True, exist_ok=True)
        with (base / f"{name}.lock").open("w") as lock, chdir(folder):
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not filled.exists():
                fill()
                filled.touch()
        return folder

    return once


def _prepared(shared: Shared, name: str, dataset: str, *sizes: str) -> Path:
    words = ["prepare", dataset, "--output", f"{name}.h5", *sizes]
    return shared(name, lambda: main(words)) / f"{name}.h5"


@pytest.fixture(scope="session")
def synthetic_file(shared: Shared) -> Path:
    """A small synthetic data file: 24 videos, 20 classes, 16 features, 10 fps, splits 1 and 2."""
    return _prepared(shared, "synthetic", "synthetic", "--videos=24", "--feature-dim=16")


ACTIONS = ("--videos=20", "--segments=12", "--feature-dim=8")


@pytest.fixture(scope="session")
def actions_file(shared: Shared) -> Path:
    """A small synthetic_actions file: 20 videos of a dozen segments, 44 actions, 8 features."""
    return _prepared(shared, "synthetic_actions", "synthetic_actions", *ACTIONS)


@pytest.fixture(scope="session")
def other_actions_file(shared: Shared) -> Path:
    """A file like `actions_file` with other features."""
    return _prepared(shared, "other_actions", "synthetic_actions", *ACTIONS, "--seed=1")


def _trained(shared: Shared, name: str, data: Path) -> Path:
    command = Commands(name, data)
    return shared(f"{name}_run", lambda: command("fit")) / command.folder


@pytest.fixture(scope="session")
def demo_run(shared: Shared, synthetic_file: Path) -> Path:
    """The finished run of a tiny MixANT on `synthetic_file`; nothing may change it."""
    return _trained(shared, "demo", synthetic_file)


@pytest.fixture(scope="session")
def aga_run(shared: Shared, actions_file: Path) -> Path:
    """The finished run of a tiny AGA on `actions_file`; nothing may change it."""
    return _trained(shared, "aga_demo", actions_file)


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synthetic_file: Path) -> Commands:
    """Commands on a tiny MixANT in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Commands("demo", synthetic_file)


@pytest.fixture
def aga_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, actions_file: Path) -> Commands:
    """Commands on a tiny AGA in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Commands("aga_demo", actions_file)


@pytest.fixture
def trained_demo(demo: Commands, demo_run: Path) -> Commands:
    """As `demo`, in a folder with a copy of the finished run."""
    shutil.copytree(demo_run, demo.folder)
    return demo


@pytest.fixture
def trained_aga(aga_demo: Commands, aga_run: Path) -> Commands:
    """As `aga_demo`, in a folder with a copy of the finished run."""
    shutil.copytree(aga_run, aga_demo.folder)
    return aga_demo


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must exit with code 2; return its last message in one line."""

    def attempt(command: Callable[..., None], *words: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            command(*words)
        said = capsys.readouterr().err
        assert exit_.value.code == 2
        assert "Traceback" not in said
        return " ".join(said[said.rindex("anticipate: ") :].split())

    return attempt


def _segments(prefix: str, num_rows: int, actions: np.ndarray, pairs: np.ndarray) -> SegmentTable:
    starts = 31 + 40 * np.arange(num_rows, dtype=np.int32)
    labels = np.full((num_rows, 2), -1) if actions[0] < 0 else pairs[actions]
    return SegmentTable(
        tuple(f"{prefix}{number}" for number in range(num_rows)),
        ("P01_01",) * num_rows,
        starts,
        starts + 30,
        *(column.astype(np.int32) for column in (*labels.T, actions)),
    )


@pytest.fixture(scope="session")
def short_term_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write small short-term data files: 120 actions, 60 validation rows, 8 test rows, no pixels.

    Features are zeros, of streams of width 1 where some are named.

    Rows are `v<k>_<number>` and `t_<number>` (numbers alone in ek55); every third validation row is
    unseen, actions below 40 are tail and many-shot, and the first five test rows are seen ones.
    """
    folder = tmp_path_factory.mktemp("short_term")

    @cache
    def write(dataset: str, streams: tuple[str, ...] = ()) -> Path:
        random = np.random.default_rng(0)
        about = data_sets()[dataset]
        num_verbs, num_nouns = about.fact("num_verbs"), about.fact("num_nouns")
        verbs, nouns = np.arange(120) % (num_verbs - 3), np.arange(120) % (num_nouns - 7)
        pairs = np.stack([verbs, nouns], axis=1)
        names = tuple(
            tuple(f"{kind}{number}" for number in range(size))
            for kind, size in (("act", 120), ("verb", num_verbs), ("noun", num_nouns))
        )
        splits = {}
        for k in ("1", "2", "3")[: 3 if about.fact("several_splits") else 1]:
            first, last = ("1", "9") if about.fact("numbered_ids") else (f"v{k}_", "t_")
            drawn = random.integers(120, size=60)
            splits[k] = {
                "train": _segments(f"{first}000", 5, drawn[:5], pairs),
                "validation": _segments(first, 60, drawn, pairs),
                "test": _segments(last, 8, np.full(8, -1), pairs),
            }
        validation, test = splits["1"]["validation"], splits["1"]["test"].segment_ids
        tail = [
            name
            for name, action in zip(validation.segment_ids, validation.actions, strict=True)
            if action < 40
        ]
        release = ShortTermRelease(
            dataset,
            Vocabulary(*names, tuple(map(tuple, pairs.tolist()))),
            (RecordedVideo("P01_01", 2500, "P01"),),
            splits,
            "made up",
            subsets={
                "unseen": validation.segment_ids[::3],
                "test_seen": test[:5],
                "test_unseen": test[5:],
                **{f"tail_{task}": tail for task in ("verb", "noun", "action")},
            },
            class_subsets={
                f"many_shot_{task}": range(min(40, size))
                for task, size in (("verb", num_verbs), ("noun", num_nouns), ("action", 120))
            },
        )
        path, width = folder / f"{'_'.join((dataset, *streams))}.h5", len(streams) or 2
        layout = FeatureFormat(Fraction(1), width, "float32", True, dict.fromkeys(streams, 1))
        with ShortTermWriter(path, release, layout, recipe="tests") as writer:
            writer.add_video(release.videos[0], [np.zeros((84, width), np.float32)])
            writer.finish(notes={})
        return path

    return write
