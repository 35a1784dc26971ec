"""The data file: one HDF5 file per prepared release, and `FeatureStore`, which reads it.

CONTRIBUTING.md tabulates the layout; `anticipate.data.prepare.writer.StoreWriter` writes it. Every
array is contiguous and uncompressed, so that a reader maps the file into memory and touches only
the rows it needs; HDF5 itself is asked for names, attributes and offsets.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from jaxtyping import Float32, Int16

from anticipate.errors import ConfigError, DataError

FORMAT = "anticipate"
FORMAT_VERSION = 1
"""Root attributes `format` and `format_version`: written last, so who has them is complete."""
ARRAYS = ("labels", "features")
"""The arrays of one video; each carries the checksum of its bytes as attribute `sha256`."""

_HASH_BLOCK = 1 << 24  # bytes per update; keeps --verify in small memory
CAN_ADVISE = hasattr(mmap, "MADV_RANDOM")
"""Whether the operating system takes hints about what will be read; Windows does not."""


class _Handle(NamedTuple):
    pid: int
    file: h5py.File
    memory: mmap.mmap


class FeatureStore:
    """Read-only view of a data file, usable in any worker process.

    The file is opened at first use and once per process: a store can be pickled (spawn) or
    inherited (fork) and never shares a handle with another process.

    Args:
        path: The HDF5 file.
        make_with: Command that makes the file, named in errors.
    """

    def __init__(
        self,
        path: str | Path,
        make_with: str = "anticipate prepare DATASET --source DIR --output FILE.h5",
    ) -> None:
        self.path = Path(path)
        self.make_with = make_with
        self._handle: _Handle | None = None

    @property
    def dataset(self) -> str:
        """Name of the release, e.g. `breakfast`."""
        return str(self._attribute("dataset"))

    @property
    def kind(self) -> str:
        """Task the file is made for: `dense`."""
        return str(self._attribute("kind"))

    @cached_property
    def fps(self) -> int | float:
        """Annotation rate in frames per second."""
        fps = float(self._attribute("fps"))
        return int(fps) if fps.is_integer() else fps

    @cached_property
    def stride(self) -> int:
        """Annotation frames from one stored feature row to the next."""
        return int(self._attribute("stride"))

    @cached_property
    def feature_dim(self) -> int:
        """Width of a feature row."""
        return int(self._attribute("feature_dim"))

    @property
    def dtype(self) -> str:
        """Stored type of the features, `float16` or `float32`."""
        return str(self._attribute("dtype"))

    @property
    def synthetic(self) -> bool:
        """Whether the features were made from the labels."""
        return bool(self._attribute("synthetic"))

    @property
    def source(self) -> str:
        """Where the data came from."""
        return str(self._attribute("source"))

    @property
    def notes(self) -> dict[str, Any]:
        """What preparing counted, cut and turned, and the settings of synthesis."""
        return dict(json.loads(self._attribute("notes")))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names; the position is the label id."""
        return tuple(self._file["classes"].asstr()[:])

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @cached_property
    def video_ids(self) -> tuple[str, ...]:
        """All video ids, sorted."""
        return tuple(sorted(self._file["videos"]))

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

    def num_frames(self, video_id: str) -> int:
        """Return the length T of a video at the annotation rate."""
        return int(self._video(video_id)["labels"].shape[0])

    def num_feature_frames(self, video_id: str) -> int:
        """Return how many of the T frames have features; the rest are a tail without any."""
        return int(self._video(video_id).attrs["num_feature_frames"])

    def activity(self, video_id: str) -> str:
        """Return the activity that a video shows."""
        return str(self._video(video_id).attrs["activity"])

    def labels(self, video_id: str, stop: int | None = None) -> Int16[np.ndarray, " frames"]:
        """Return the class ids of the frames before `stop` (all when None)."""
        return np.array(self._array(self._video(video_id)["labels"])[:stop])

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
        return _to_float32(np.array(stored[:: sample_rate // self.stride]))

    def verify(self) -> list[str]:
        """Return the paths of all arrays whose bytes differ from their checksum."""
        digests: dict[int, str] = {}  # several videos may share one label array
        damaged = []
        for name, array in self._arrays():
            offset = array.id.get_offset()
            if offset not in digests:
                digests[offset] = _sha256(self.path, offset, array.nbytes)
            if digests[offset] != array.attrs["sha256"]:
                damaged.append(name)
        return damaged

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        if self._handle is not None:
            self._handle.file.close()
        self._handle = None

    def __enter__(self) -> "FeatureStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    @property
    def _file(self) -> h5py.File:
        return self._opened().file

    def _opened(self) -> _Handle:
        if self._handle is not None and self._handle.pid != os.getpid():
            self.close()  # inherited through fork
        if self._handle is None:
            self._handle = self._open()
        return self._handle

    def _open(self) -> _Handle:
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such data file; make it with: {self.make_with}")
        try:
            file = h5py.File(self.path)
        except OSError as error:
            raise DataError(
                f"{self.path}: not an HDF5 file, or one that was cut off "
                f"({' '.join(str(error).split())}); make it again with: {self.make_with}"
            ) from error
        found = (file.attrs.get("format"), file.attrs.get("format_version"))
        if found != (FORMAT, FORMAT_VERSION):
            file.close()
            raise DataError(
                f"{self.path}: an HDF5 file of format {found[0]} version {found[1]}, expected "
                f"{FORMAT} version {FORMAT_VERSION}; make it with: {self.make_with}"
            )
        with self.path.open("rb") as raw:
            memory = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)
        if CAN_ADVISE:
            memory.madvise(mmap.MADV_RANDOM)  # read-ahead would fetch frames nobody asked for
        return _Handle(os.getpid(), file, memory)

    def _attribute(self, name: str) -> Any:
        return self._file.attrs[name]

    def _video(self, video_id: str) -> h5py.Group:
        videos = self._file["videos"]
        if video_id not in videos:
            raise DataError(
                f"{self.path}: no video '{video_id}' among its {len(videos)} videos; was the file "
                f"prepared from another release?"
            )
        return videos[video_id]

    def _fetch(self, array: h5py.Dataset, num_rows: int) -> None:
        """Have the kernel read the first rows of an array at once, not page by page."""
        if not CAN_ADVISE or not num_rows:
            return
        first = array.id.get_offset()
        start = first - first % mmap.PAGESIZE
        end = first + num_rows * array.dtype.itemsize * array.shape[1]
        self._opened().memory.madvise(mmap.MADV_WILLNEED, start, end - start)

    def _array(self, array: h5py.Dataset) -> np.ndarray:
        """Map a contiguous array; it is a view of the file."""
        flat = np.frombuffer(
            self._opened().memory, array.dtype, array.size, offset=array.id.get_offset()
        )
        return flat.reshape(array.shape)

    def _arrays(self) -> Iterator[tuple[str, h5py.Dataset]]:
        for video_id in self.video_ids:
            for name in ARRAYS:
                yield f"/videos/{video_id}/{name}", self._video(video_id)[name]


def _to_float32(rows: np.ndarray) -> Float32[np.ndarray, "tokens feature"]:
    if rows.dtype == np.float32:
        return rows
    import torch  # here: `inspect` starts without it, and numpy widens float16 ten times slower

    return torch.from_numpy(rows).float().numpy()


def _sha256(path: Path, offset: int, num_bytes: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(offset)
        while num_bytes > 0:
            block = file.read(min(num_bytes, _HASH_BLOCK))
            num_bytes -= len(block) or num_bytes
            digest.update(block)
    return digest.hexdigest()
