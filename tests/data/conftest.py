"""Tiny data files whose features tell their own frame."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from anticipate.data.prepare.writer import Header, StoreWriter
from anticipate.data.store import FeatureStore

FEATURE_DIM = 3
CLASSES = tuple(f"class_{number}" for number in range(7))


def write_tiny(
    path: Path,
    train: Mapping[str, int],
    test: Mapping[str, int],
    dataset: str = "breakfast",
    stride: int = 1,
    num_feature_frames: Mapping[str, int] | None = None,
) -> FeatureStore:
    """Write videos of given lengths; features of frame f are f, labels change every 4 frames."""
    header = Header(dataset, "dense", 15, stride, FEATURE_DIM, "float32", True, "made up", CLASSES)
    with StoreWriter(path, header, recipe="tiny") as writer:
        for number, (video_id, num_frames) in enumerate({**train, **test}.items()):
            covered = (num_feature_frames or {}).get(video_id, num_frames)
            rows = np.repeat(np.arange(0, covered, stride)[:, None], FEATURE_DIM, axis=1)
            labels = (np.arange(num_frames) // 4 + number) % len(CLASSES)
            writer.add_video(video_id, labels, [rows], "cereals", covered)
        writer.finish({"1": {"train": list(train), "test": list(test)}}, notes={})
    return FeatureStore(path)


@pytest.fixture
def tiny_store(tmp_path: Path) -> Callable[..., FeatureStore]:
    """Return a function that writes a tiny data file, given the lengths of its videos."""

    def make(
        train: Mapping[str, int], test: Mapping[str, int] | None = None, **options: object
    ) -> FeatureStore:
        return write_tiny(tmp_path / "tiny.h5", train, test or {}, **options)

    return make
