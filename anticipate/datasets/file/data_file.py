"""The data file: one HDF5 file per prepared release, and `DataFile`, which opens it.

`anticipate/datasets/README.md` tabulates the layouts. Every array is contiguous and uncompressed,
so that a reader maps the file into memory and touches only the rows it needs; HDF5 itself is asked
for names, attributes and offsets.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import h5py
import numpy as np
from jaxtyping import Float32

from anticipate.errors import DataError

FORMAT = "anticipate"
FORMAT_VERSION = 1
"""Root attributes `format` and `format_version`: written last, so who has them is complete."""

TABLES_SUM = "tables_sha256"
"""Root attribute with the checksum of all that is no array of a video: see `sum_of_tables`."""

MAKE_WITH = "anticipate prepare DATASET --source DIR --output FILE.h5"
"""Command that makes a data file."""

Kind = Literal["dense", "short_term"]
"""Task a data file is made for: its root attribute `kind`."""

_UNSUMMED = ("closed", "format", "format_version", "recipe", TABLES_SUM)
_HASH_BLOCK = 1 << 24  # bytes per update; keeps --verify in small memory
CAN_ADVISE = hasattr(mmap, "MADV_RANDOM")
"""Whether the operating system takes hints about what will be read; Windows does not."""


class _Handle(NamedTuple):
    pid: int
    file: h5py.File
    memory: mmap.mmap


class DataFile:
    """Read-only view of what all data files have, usable in any worker process.

    The file is opened at first use and once per process: a reader can be pickled (spawn) or
    inherited (fork) and never shares a handle with another process.

    Args:
        path: The HDF5 file.
        make_with: Command that makes the file, named in errors.
    """

    expected_kind: ClassVar[Kind | None] = None
    """Kind of files that the reader understands; None for any."""
    arrays: ClassVar[tuple[str, ...]] = ("features",)
    """The arrays of one video; each carries the checksum of its bytes as attribute `sha256`."""

    def __init__(self, path: str | Path, make_with: str = MAKE_WITH) -> None:
        self.path = Path(path)
        self.make_with = make_with
        self._handle: _Handle | None = None

    @property
    def dataset(self) -> str:
        """Name of the release, e.g. `breakfast`."""
        return str(self._attribute("dataset"))

    @property
    def kind(self) -> str:
        """Task the file is made for: `dense` or `short_term`."""
        return str(self._attribute("kind"))

    @cached_property
    def fps(self) -> int | float:
        """Annotation rate in frames per second."""
        fps = float(self._attribute("fps"))
        return int(fps) if fps.is_integer() else fps

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
        return self._text("classes")

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @cached_property
    def video_ids(self) -> tuple[str, ...]:
        """All video ids, sorted."""
        return tuple(sorted(self._file["videos"]))

    @cached_property
    def identity(self) -> str:
        """Fingerprint of classes, splits and recorded checksums: equal for equal content.

        The arrays themselves are not read.
        """
        digest = hashlib.sha256(repr((self.dataset, self.classes, self._division())).encode())
        for name, array in self._arrays():
            digest.update(f"{name} {array.attrs['sha256']}\n".encode())
        return digest.hexdigest()

    def _division(self) -> object:
        """Return what the splits consist of, in a form with a complete `repr`."""
        raise NotImplementedError

    @property
    def has_sum_of_tables(self) -> bool:
        """Whether the file records it; files of version 0.1 do not."""
        return TABLES_SUM in self._file.attrs

    def verify(self) -> list[str]:
        """Return the paths of all arrays whose bytes differ from their checksum.

        Names, splits, tables and attributes have one checksum together, and are called `tables`.
        """
        digests: dict[int, str] = {}  # several videos may share one label array
        damaged = []
        for name, array in self._arrays():
            offset = array.id.get_offset()
            if offset not in digests:
                digests[offset] = _sha256(self.path, offset, array.nbytes)
            if digests[offset] != array.attrs["sha256"]:
                damaged.append(name)
        if self.has_sum_of_tables and self._attribute(TABLES_SUM) != sum_of_tables(self._file):
            damaged.append("tables")
        return damaged

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        if self._handle is not None:
            self._handle.file.close()
        self._handle = None

    def __enter__(self) -> "DataFile":
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
            if "unable to lock" in str(error):
                raise DataError(
                    f"{self.path}: another program holds it open for writing, or its file system "
                    "knows no locks: end that program, or set HDF5_USE_FILE_LOCKING=FALSE"
                ) from error
            raise DataError(
                f"{self.path}: not an HDF5 file, or one that was cut off "
                f"({' '.join(str(error).split())}); make it again with: {self.make_with}"
            ) from error
        problem = _misfit(file, self.expected_kind)
        if problem:
            file.close()
            raise DataError(f"{self.path}: {problem}; make it with: {self.make_with}")
        with self.path.open("rb") as raw:
            memory = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)
        if CAN_ADVISE:
            memory.madvise(mmap.MADV_RANDOM)  # read-ahead would fetch frames that are not needed
        return _Handle(os.getpid(), file, memory)

    def _attribute(self, name: str) -> Any:
        return self._file.attrs[name]

    def _text(self, path: str) -> tuple[str, ...]:
        return tuple(self._file[path].asstr()[:])

    def _video(self, video_id: str) -> h5py.Group:
        videos = self._file["videos"]
        if video_id not in videos:
            raise DataError(
                f"{self.path}: no video '{video_id}' among its {len(videos)} videos; was the file "
                f"prepared from another release?"
            )
        return videos[video_id]

    def _array(self, array: h5py.Dataset) -> np.ndarray:
        """Map a contiguous array; it is a view of the file."""
        self._check_length()
        flat = np.frombuffer(
            self._opened().memory, array.dtype, array.size, offset=array.id.get_offset()
        )
        return flat.reshape(array.shape)

    def _check_length(self) -> None:
        """See that the file is as long as its map: reading beyond its end would kill the process.

        Raises:
            DataError: It was cut since it was opened.
        """
        memory = self._opened().memory
        if memory.size() < len(memory):
            raise DataError(
                f"{self.path}: was cut from {len(memory):,} to {memory.size():,} bytes while it "
                f"was read; make it again with: {self.make_with}"
            )

    def _arrays(self) -> Iterator[tuple[str, h5py.Dataset]]:
        for video_id in self.video_ids:
            for name in self.arrays:
                yield f"/videos/{video_id}/{name}", self._video(video_id)[name]


def sum_of_tables(file: h5py.File) -> str:
    """Return the SHA-256 of names, shapes, values and attributes of a file.

    Arrays of videos, which have sums of their own, and marks of the writer are left out.
    """
    digest = hashlib.sha256()

    def add(name: str, node: h5py.Group | h5py.Dataset) -> None:
        attributes = {k: str(node.attrs[k]) for k in sorted(node.attrs) if k not in _UNSUMMED}
        digest.update(repr((name, attributes)).encode())
        if isinstance(node, h5py.Group):
            for child in sorted(node):
                add(f"{name}/{child}", node[child])
        elif "sha256" not in node.attrs:
            is_text = h5py.check_string_dtype(node.dtype) is not None
            values = repr(node.asstr()[()].tolist()).encode() if is_text else node[()].tobytes()
            digest.update(repr((node.shape, str(node.dtype))).encode() + values)

    add("", file)
    return digest.hexdigest()


def to_float32(rows: np.ndarray) -> Float32[np.ndarray, "tokens feature"]:
    """Widen stored rows to the type that networks compute in.

    Args:
        rows: Feature rows, float16 or float32.
    """
    if rows.dtype == np.float32:
        return rows
    import torch  # here: `inspect` starts without it, and numpy widens float16 ten times slower

    return torch.from_numpy(rows).float().numpy()


def _has_forecasts(file: h5py.File) -> bool:
    group = next(iter(file.values()), None)
    return isinstance(group, h5py.Group) and any(name.startswith("obs_") for name in group)


def _misfit(file: h5py.File, kind: Kind | None) -> str | None:
    """Say why a reader for `kind` cannot use an HDF5 file, if so."""
    found = (file.attrs.get("format"), file.attrs.get("format_version"))
    predicted = "short-term" if "action" in file else "dense" if _has_forecasts(file) else ""
    if found == (None, None) and predicted:
        return (
            f"holds predictions, which anticipate score {predicted} {file.filename} --data FILE.h5 "
            "reads; expected a prepared data file"
        )
    if found != (FORMAT, FORMAT_VERSION):
        return (
            f"an HDF5 file of format {found[0]} version {found[1]}, expected {FORMAT} version "
            f"{FORMAT_VERSION}"
        )
    if kind not in (None, file.attrs["kind"]):
        return (
            f"holds '{file.attrs['dataset']}', a data set for {_tasks(file.attrs['kind'])}, "
            f"expected one for {_tasks(kind)}"
        )
    return None


def _tasks(kind: str | None) -> str:
    return f"{str(kind).replace('_', '-')} anticipation"


def _sha256(path: Path, offset: int, num_bytes: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(offset)
        while num_bytes > 0:
            block = file.read(min(num_bytes, _HASH_BLOCK))
            num_bytes -= len(block) or num_bytes
            digest.update(block)
    return digest.hexdigest()
