"""One training item of Breakfast's size, compared with loading and slicing a whole `.npy` file."""

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float32

from anticipate.datasets.batches.buckets import Draw
from anticipate.datasets.batches.dense_items import DenseDataset
from anticipate.datasets.file.dense_file import DenseStore, DenseWriter, Header
from anticipate.horizons import num_tokens, observed_frames
from anticipate.lab.benchmark.speed_table import MIB, Group, Report
from anticipate.lab.benchmark.timing import compare

OBS_RATIO, SAMPLE_RATE = 0.2, 3
_IO = Path("/proc/self/io")
"""What the kernel counts for this process."""

Features = Float32[np.ndarray, "tokens feature"]


class Reader(NamedTuple):
    """One way to get the features of the observed tokens."""

    path: Path
    read: Callable[[], Features]
    asked: int
    """Bytes that it asks for."""


def run(quick: bool, repeats: int) -> Report:
    """Measure one item at 20 % observation and every 3rd frame: 2,048 features, 2,100 frames."""
    frames, width = (60, 32) if quick else (2100, 2048)
    features = np.random.default_rng(0).standard_normal((frames, width), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        npy, h5 = Path(folder, "video.npy"), Path(folder, "video.h5")
        np.save(npy, features.T)
        write_store(h5, features)
        return Report((items(npy, h5, features.shape, repeats),))


def items(npy: Path, h5: Path, shape: tuple[int, int], repeats: int) -> Group:
    """Time the readers with their files in the page cache; count what they fetch without it."""
    frames, width = shape
    stop = observed_frames(frames, OBS_RATIO)
    needed = 4 * width * num_tokens(stop, SAMPLE_RATE)
    with DenseStore(h5) as store:
        dataset = DenseDataset(store, ("video",), (OBS_RATIO,), SAMPLE_RATE)
        readers = {
            "anticipate, HDF5": Reader(h5, partial(read_item, dataset), needed),
            "whole .npy": Reader(npy, partial(read_npy, npy, stop, None), 4 * width * frames),
            "mapped .npy": Reader(npy, partial(read_npy, npy, stop, "r"), needed),
        }
        figures = {name: _figures(reader) for name, reader in readers.items()}
        notes = ["fetched: from storage, files not in the page cache, read-ahead included"]
        if any("fetched MiB" not in row for row in figures.values()):
            notes = ["bytes fetched from storage left out: this system does not count them here"]
        candidates = {name: reader.read for name, reader in readers.items()}
        title = f"one training item, features {width} x {frames} float32, in the page cache"
        return compare(title, candidates, repeats, figures, notes)


def read_item(dataset: DenseDataset) -> Features:
    """Read what training reads, labels included, and return the features."""
    return dataset[Draw(item=0, epoch=0)].features.numpy()


def read_npy(npy: Path, stop: int, mmap_mode: Literal["r"] | None) -> Features:
    """Load or map the features of the video and copy those of the observed tokens."""
    return np.ascontiguousarray(np.load(npy, mmap_mode)[:, :stop:SAMPLE_RATE].T)


def fetched_bytes(path: Path, read: Callable[[], Any]) -> int:
    """Drop a file from the page cache and count what `read` then fetches from storage.

    Returns:
        Bytes, mapped pages included; 0 where the system does not count or drop them.
    """
    if not _IO.exists():
        return 0
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before = _bytes_from_storage()
    read()
    return _bytes_from_storage() - before


def _bytes_from_storage() -> int:
    fields = dict(line.split(": ") for line in _IO.read_text().splitlines())
    return int(fields["read_bytes"])


def _figures(reader: Reader) -> dict[str, float]:
    fetched = fetched_bytes(reader.path, reader.read)
    counted = {"fetched MiB": fetched / MIB} if fetched else {}
    return {"asked MiB": reader.asked / MIB, **counted}


def write_store(path: Path, features: Features) -> None:
    """Write a data file of one video with features like those of the `.npy`."""
    header = Header(
        dataset="breakfast",
        kind="dense",
        fps=15,
        stride=1,
        feature_dim=features.shape[1],
        dtype="float32",
        synthetic=True,
        source="random numbers",
        classes=("first", "second"),
    )
    with DenseWriter(path, header, recipe="benchmark") as writer:
        labels = np.arange(len(features)) * 2 // len(features)
        writer.add_video("video", labels, [features], activity="")
        writer.finish({"1": {"train": ["video"], "test": []}}, {})
