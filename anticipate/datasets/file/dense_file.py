"""The data file of a dense data set: `DenseStore` reads it, `DenseWriter` makes it.

`anticipate/datasets/README.md` tabulates the layout.
"""

import hashlib
import mmap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import h5py
import numpy as np
from jaxtyping import Float32, Int16, Int64, Integer

from anticipate.datasets.file.data_file import CAN_ADVISE, DataFile, to_float32
from anticipate.datasets.file.partial_file import PartialFile, write_text
from anticipate.errors import ConfigError, DataError
from anticipate.files import check_name


class DenseStore(DataFile):
    """Read-only view of a dense data file: whole videos with a label for every frame."""

    expected_kind = "dense"
    arrays = ("labels", "features")

    def __enter__(self) -> "DenseStore":
        return self

    @cached_property
    def stride(self) -> int:
        """Annotation frames from one stored feature row to the next."""
        return int(self._attribute("stride"))

    @cached_property
    def splits(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Video ids of each part (`train`, `test`) of each split."""
        return {
            k: {part: tuple(ids.asstr()[:]) for part, ids in parts.items()}
            for k, parts in self._file["splits"].items()
        }

    def split(self, k: int | str, part: str) -> tuple[str, ...]:
        """Return the video ids of one part of split `k`.

        Raises:
            ConfigError: The file holds no such split or part.
        """
        parts = self.splits.get(str(k))
        if parts is None:
            known = ", ".join(self.splits)
            raise ConfigError(f"{self.path}: no split '{k}'; choose one of: {known}")
        if part not in parts:
            raise ConfigError(
                f"{self.path}: split {k} has no part '{part}', only {', '.join(parts)}"
            )
        return parts[part]

    def _division(self) -> object:
        return self.splits

    def num_frames(self, video_id: str) -> int:
        """Return the length T of a video at the annotation rate."""
        return int(self._video(video_id)["labels"].shape[0])

    def num_feature_frames(self, video_id: str) -> int:
        """Return how many of the T frames have features; the rest are a tail without any."""
        return int(self._video(video_id).attrs["num_feature_frames"])

    def activity(self, video_id: str) -> str:
        """Return the activity that a video shows."""
        return str(self._video(video_id).attrs["activity"])

    def labels(self, video_id: str) -> Int16[np.ndarray, " frames"]:
        """Return the class ids of all frames."""
        return np.array(self._array(self._video(video_id)["labels"]))

    def features(
        self, video_id: str, stop: int, sample_rate: int
    ) -> Float32[np.ndarray, "tokens feature"]:
        """Return the features of frames 0, sample_rate, 2 sample_rate .. below `stop`.

        Only the rows asked for are read. Frames of a tail without features are left out, so there
        are ceil(min(stop, num_feature_frames) / sample_rate) tokens.

        Raises:
            ConfigError: `sample_rate` is not a positive multiple of the stride of the file.
        """
        if sample_rate < 1 or sample_rate % self.stride:
            raise ConfigError(
                f"{self.path}: features are stored every {self.stride} frames, so the sample rate "
                f"must be a multiple of {self.stride}, not {sample_rate}; change it or prepare the "
                f"file with another --stride"
            )
        video = self._video(video_id)
        stop = min(stop, int(video.attrs["num_feature_frames"]))
        num_rows = -(-stop // self.stride)
        self._fetch(video["features"], num_rows)
        stored = self._array(video["features"])[:num_rows]
        return to_float32(np.array(stored[:: sample_rate // self.stride]))

    def features_at(
        self, video_id: str, frames: Int64[np.ndarray, " steps"]
    ) -> Float32[np.ndarray, "steps feature"]:
        """Return what was stored last at or before each frame; only those values are read.

        Args:
            video_id: Video.
            frames: Frames from 0 on, below `num_feature_frames`.
        """
        stored = self._array(self._video(video_id)["features"])
        return to_float32(stored[frames // self.stride])

    def _fetch(self, array: h5py.Dataset, num_rows: int) -> None:
        """Have the kernel read the first rows of an array at once, not page by page."""
        if not CAN_ADVISE or not num_rows:
            return
        first = array.id.get_offset()
        start = first - first % mmap.PAGESIZE
        end = first + num_rows * array.dtype.itemsize * array.shape[1]
        self._opened().memory.madvise(mmap.MADV_WILLNEED, start, end - start)


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


class DenseWriter(PartialFile):
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

    def __enter__(self) -> "DenseWriter":
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
        check_name(video_id, "the id of a video", DataError)
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
