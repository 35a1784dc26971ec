"""One training item of Breakfast's size, compared with loading and slicing a whole `.npy` file."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from anticipate.datasets.batches.buckets import Draw
from anticipate.datasets.batches.dense_items import DenseDataset
from anticipate.datasets.file.dense_file import DenseStore, DenseWriter, Header
from anticipate.horizons import num_tokens, observed_frames
from anticipate.lab.benchmark.timing import MIB, Candidate, Group, compare

OBS_RATIO, SAMPLE_RATE = 0.2, 3

Features = Float32[np.ndarray, "tokens feature"]


def run(quick: bool, repeats: int) -> list[Group]:
    """Measure one item at 20 % observation and every 3rd frame: 2,048 features, 2,100 frames."""
    frames, width = (60, 32) if quick else (2100, 2048)
    features = np.random.default_rng(0).standard_normal((frames, width), np.float32)
    stop = observed_frames(frames, OBS_RATIO)
    needed = 4 * width * num_tokens(stop, SAMPLE_RATE)
    asked = {"anticipate, HDF5": needed, "whole .npy": features.nbytes, "mapped .npy": needed}
    with tempfile.TemporaryDirectory() as folder:
        npy, h5 = Path(folder, "video.npy"), Path(folder, "video.h5")
        np.save(npy, features.T)
        write_store(h5, features)
        with DenseStore(h5) as store:
            dataset = DenseDataset(store, ("video",), (OBS_RATIO,), SAMPLE_RATE)
            candidates: dict[str, Candidate] = {
                "anticipate, HDF5": lambda: dataset[Draw(item=0, epoch=0)].features.numpy(),
                "whole .npy": partial(read_npy, npy, stop, None),
                "mapped .npy": partial(read_npy, npy, stop, "r"),
            }
            figures = {name: {"asked MiB": number / MIB} for name, number in asked.items()}
            title = f"one training item, features {width} x {frames} float32, in the page cache"
            return [compare(title, candidates, repeats, figures)]


def read_npy(npy: Path, stop: int, mmap_mode: Literal["r"] | None) -> Features:
    """Load or map the features of the video and copy those of the observed tokens."""
    return np.ascontiguousarray(np.load(npy, mmap_mode)[:, :stop:SAMPLE_RATE].T)


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
