"""Tiny releases in the layouts of the public ones."""

from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest

FEATURE_DIM = 8
CLASSES = ("SIL", "pour_milk", "stir_cereals")
VIDEOS = (
    "P03_cam01_P03_cereals",
    "P03_cam02_P03_cereals",
    "P16_cam01_P16_milk",
    "P17_cam01_P17_milk",
)
SEQUENCES = ("nusar_a", "nusar_b")
VIEWS = ("C1_rgb", "e1_mono")
ACTIONS = ("inspect toy", "attach cabin", "detach cabin")
FIRST_FRAME = 3
NUM_IMAGES = 30


def write_lines(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _features(name: str, num_frames: int) -> np.ndarray:
    offset = sum(name.encode()) % 97
    grid = np.arange(FEATURE_DIM)[:, None] * 1000 + np.arange(num_frames)[None]
    return (grid + offset).astype(np.float32)


@pytest.fixture
def features_of() -> Callable[[str, int], np.ndarray]:
    """Features (8, frames) of a name; their values tell name, channel and frame apart."""
    return _features


@pytest.fixture
def breakfast(tmp_path: Path) -> Path:
    """A release of four videos of 20, 21, 22 and 23 frames with features of width 8."""
    source = tmp_path / "release"
    write_lines(source / "mapping.txt", *(f"{i} {name}" for i, name in enumerate(CLASSES)))
    (source / "features").mkdir(parents=True)
    for i, video in enumerate(VIDEOS):
        num_frames = 20 + i
        labels = ["SIL"] * 5 + ["pour_milk"] * (num_frames - 8) + ["stir_cereals"] * 3
        write_lines(source / "groundTruth" / f"{video}.txt", *labels)
        np.save(source / "features" / f"{video}.npy", _features(video, num_frames))
    names = [f"{video}.txt" for video in VIDEOS]
    write_lines(source / "splits" / "train.split1.bundle", *names[2:])
    write_lines(source / "splits" / "test.split1.bundle", *names[:2])
    write_lines(source / "splits" / ".history", "stray")
    return source


@pytest.fixture
def assembly101(tmp_path: Path) -> Path:
    """A release of two sequences in two views; frames 3 to 25, and views that end at 30 and 20."""
    source = tmp_path / "assembly"
    actions = (f"{i},0,0,{name},verb,noun" for i, name in enumerate(ACTIONS))
    write_lines(
        source / "actions.csv", "action_id,verb_id,noun_id,action_cls,verb_cls,noun_cls", *actions
    )
    header = ",video_id,view,action_type,video_start_frame,video_end_frame"
    for name, sequence in zip(("train.csv", "val.csv"), SEQUENCES, strict=True):
        rows = [
            f"{i},{sequence},{view},assembly,1,{end}"
            for i, (view, end) in enumerate(zip(VIEWS, (30, 20), strict=True))
        ]
        write_lines(source / name, header, *rows)
        write_lines(
            source / "coarse_labels" / f"assembly_{sequence}.txt",
            "000000003\t000000010\tinspect toy",
            "000000010\t000000025\tattach cabin\textra",
        )
    return source


@pytest.fixture
def assembly101_arrays(assembly101: Path) -> Path:
    """The same with `features/<sequence>/<view>/features.npy`."""
    for sequence in SEQUENCES:
        for view in VIEWS:
            folder = assembly101 / "features" / sequence / view
            folder.mkdir(parents=True)
            np.save(folder / "features.npy", _features(sequence + view, NUM_IMAGES))
    return assembly101


@pytest.fixture
def write_lmdb() -> Callable[..., None]:
    """A function that writes the images 1 to 30 of all sequences into one LMDB per view."""

    def write(folder: Path, feature_dim: int = FEATURE_DIM, skip: tuple[int, ...] = ()) -> None:
        for view in VIEWS:
            (folder / view).mkdir(parents=True)
            with (
                lmdb.open(str(folder / view), map_size=1 << 24) as database,
                database.begin(write=True) as transaction,
            ):
                for sequence in SEQUENCES:
                    values = _features(sequence + view, NUM_IMAGES + 1)
                    for image in set(range(1, NUM_IMAGES + 1)) - set(skip):
                        key = f"{sequence}/{view}/{view}_{image:010d}.jpg"
                        transaction.put(key.encode(), values[:feature_dim, image].tobytes())

    return write
