"""Tiny releases in the layouts of the public ones."""

from collections.abc import Callable, Iterable, Mapping
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


NUM_EPIC_FRAMES = 400
EPIC_ROWS = {
    "training": ["P01_01_0,P01_01,4,101,3,3,1", "P01_01_1,P01_01,131,185,0,299,0"],
    "validation": ["P02_01_0,P02_01,40,90,0,299,0", "P02_01_1,P02_01,200,260,96,7,2"],
}


@pytest.fixture
def ek100(tmp_path: Path) -> Path:
    """A release of two training and two validation segments, one test segment, three actions."""
    source = tmp_path / "ek100"
    actions = ("0,0,299,take tap", "1,3,3,open bin:lid", "2,96,7,turn-on light")
    write_lines(source / "actions.csv", "id,verb,noun,action", *actions)
    for name, rows in EPIC_ROWS.items():
        write_lines(source / f"{name}.csv", *rows)
    write_lines(source / "test_timestamps.csv", "P03_101_0,P03_101,85,116")
    write_lines(source / "validation_unseen_participants_ids.csv", "P02_01_0", "P02_01_1")
    write_lines(source / "validation_tail_verbs_ids.csv", "P02_01_1")
    write_lines(source / "validation_tail_nouns_ids.csv", "P02_01_0")
    write_lines(source / "validation_tail_actions_ids.csv", "P02_01_0", "P02_01_1")
    return source


@pytest.fixture
def ek55(tmp_path: Path) -> Path:
    """The same with the quirks of EPIC-Kitchens-55: padded numbers, spaces, other columns."""
    source = tmp_path / "ek55"
    actions = ("0, take_pan,0,1", "1, grab_pan,0,1", "2, take_fridge,0,10", "3, wash_tap:hot,4,3")
    write_lines(source / "actions.csv", "id,action,verb,noun", *actions)
    write_lines(
        source / "training.csv",
        "00330, P01_02, 0000000152, 0000000205, 000, 010, 0002",
        "00331, P01_02, 0000000258, 0000000278, 004, 003, 0003",
    )
    write_lines(source / "validation.csv", "00000, P01_01, 0000000004, 0000000101, 000, 001, 0000")
    write_lines(source / "test_seen.csv", "01924, P01_11, 0000000001, 0000000056")
    write_lines(source / "test_unseen.csv", "15582, P09_01, 0000000059, 0000000092")
    write_lines(source / "EPIC_many_shot_verbs.csv", "verb_class,verb", "4,wash")
    write_lines(source / "EPIC_many_shot_nouns.csv", "noun_class,noun", "10,fridge")
    return source


@pytest.fixture
def egtea(tmp_path: Path) -> Path:
    """A release of three splits with two training and one validation segment each."""
    source = tmp_path / "egtea"
    actions = ("0, 0_1, Inspect/Read_recipe", "1, 2_0, Take_eating_utensil")
    write_lines(source / "actions.csv", *actions)
    rows = [
        f"{i},OP0{i + 1}-R01-PastaSalad,{802 + 60 * i},{850 + 60 * i},{0 if i % 2 else 2},{i % 2},"
        f"{0 if i % 2 else 1}"
        for i in range(3)
    ]
    for k in range(3):
        write_lines(source / f"training{k + 1}.csv", *(rows[:k] + rows[k + 1 :]))
        write_lines(source / f"validation{k + 1}.csv", rows[k])
    return source


@pytest.fixture
def write_frames() -> Callable[..., None]:
    """A function that writes an LMDB; the features of frame n are n, n + 1 .. as float32."""

    def write(
        folder: Path,
        frames: Mapping[str, Iterable[int]],
        feature_dim: int = FEATURE_DIM,
        dtype: str = "<f4",
    ) -> None:
        folder.mkdir(parents=True)
        with (
            lmdb.open(str(folder), map_size=1 << 24) as database,
            database.begin(write=True) as transaction,
        ):
            for video, numbers in frames.items():
                for frame in numbers:
                    key = f"{video}_frame_{frame:010d}.jpg".encode()
                    transaction.put(key, np.arange(frame, frame + feature_dim).astype(dtype))

    return write
