"""`StoreWriter` writes the data file of a dense data set.

The layout is tabulated in CONTRIBUTING.md and read by `anticipate.data.store.FeatureStore`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import h5py
import numpy as np
from jaxtyping import Integer

from anticipate.data.prepare.partial_file import PartialFile, write_text

_ZERO_ROWS = 4096  # rows of a tail without features that are written at a time

Splits = Mapping[str, Mapping[str, Sequence[str]]]
"""Video ids of each part of each split."""


class Header(NamedTuple):
    """What a data file says about itself; the fields are its root attributes and `/classes`."""

    dataset: str
    kind: str
    fps: float
    stride: int
    feature_dim: int
    dtype: Literal["float16", "float32"]
    synthetic: bool
    source: str
    classes: tuple[str, ...]


class StoreWriter(PartialFile):
    """Write one dense data file; use it as a context manager and end with `finish`.

    Args:
        path: The file to make.
        header: What the file says about itself.
        recipe: Fingerprint of everything else that decides the content, e.g. of the label files.
        overwrite: Replace an existing file.

    Raises:
        DataError: The file exists already, another process writes it, or the disk is full.
    """

    last_attribute = "num_feature_frames"

    def __init__(
        self, path: str | Path, header: Header, recipe: str, overwrite: bool = False
    ) -> None:
        attributes = header._asdict()
        names = {"classes": attributes.pop("classes")}
        super().__init__(path, attributes, names, recipe, overwrite)
        self._header = header
        self._labels: dict[str, h5py.Dataset] = {}

    def __enter__(self) -> "StoreWriter":
        self._enter()
        return self

    def add_video(
        self,
        video_id: str,
        labels: Integer[np.ndarray, " frames"],
        features: Iterable[np.ndarray],
        activity: str,
        num_feature_frames: int | None = None,
    ) -> None:
        """Write one video.

        Args:
            video_id: Name of the video.
            labels: Class id of every frame.
            features: Blocks of consecutive feature rows of frames 0, stride, 2 stride .. below
                `num_feature_frames`.
            activity: What the video shows.
            num_feature_frames: Frames that have features, all when None; rows beyond are zeros.
        """
        num_frames = len(labels)
        covered = num_frames if num_feature_frames is None else num_feature_frames
        with self._writing():
            video = self._file["videos"].create_group(video_id)
            video.attrs["activity"] = activity
            self._write_labels(video, np.ascontiguousarray(labels, "<i2"))
        rows = -(-num_frames // self._header.stride)
        num_zeros = rows - -(-covered // self._header.stride)
        self._write_features(video, _padded(features, num_zeros, self._header.feature_dim), rows)
        with self._writing():
            video.attrs[self.last_attribute] = covered

    def finish(self, splits: Splits, notes: Mapping[str, Any]) -> None:
        """Complete the file and give it its final name.

        Args:
            splits: Video ids of each part of each split.
            notes: What was counted, cut, turned; stored as JSON.
        """
        with self._writing():
            for k, parts in splits.items():
                split = self._file["splits"].create_group(k, track_order=True)
                for part, video_ids in parts.items():
                    write_text(split, part, video_ids)
        self._complete(notes)

    def _resume(self) -> h5py.File | None:
        file = super()._resume()
        if file is not None:
            for video in file["videos"].values():
                self._labels[video["labels"].attrs["sha256"]] = video["labels"]
        return file

    def _write_labels(self, video: h5py.Group, labels: np.ndarray) -> None:
        """Write labels once: several views of one performance link to the same array."""
        digest = hashlib.sha256(labels.data).hexdigest()
        if digest not in self._labels:
            array = video.create_dataset("labels", data=labels)
            array.attrs["sha256"] = digest
            self._labels[digest] = array
        else:
            video["labels"] = self._labels[digest]


def _padded(blocks: Iterable[np.ndarray], num_zeros: int, feature_dim: int) -> Iterator[np.ndarray]:
    yield from blocks
    for start in range(0, num_zeros, _ZERO_ROWS):
        yield np.zeros((min(_ZERO_ROWS, num_zeros - start), feature_dim), np.float32)
