"""Features in `.npy` files, one array per video: time along either axis, or a row per tick."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Int

from anticipate.datasets.release.releases import FPS, LabelledVideo
from anticipate.errors import DataError

Layout = Literal["channels-first", "frames-first"]
"""Which axis of a feature array is the first."""
LAYOUTS = get_args(Layout)

_BLOCK_BYTES = 1 << 25  # one block per worker is in memory


class ArrayFile(NamedTuple):
    """What the header of a feature file says."""

    path: Path
    num_frames: int
    turned: bool
    """Whether rows are frames; published files have columns for frames."""
    frames_together: bool
    """Whether the values of a frame are neighbours in the file."""
    dtype: np.dtype
    offset: int
    """Bytes before the first value."""


def array_files(
    paths: Mapping[str, Path], feature_dim: int, layout: Layout | None = None
) -> dict[str, ArrayFile]:
    """Read the headers of the feature files of a release, whose arrays all have one layout.

    A file with as many frames as channels does not show which axis is which: it follows the others.

    Args:
        paths: File of each video.
        feature_dim: Number of channels.
        layout: First axis of the arrays that do not show it, and leave for the files to be of both
            layouts; None to see it from the files.

    Raises:
        DataError: A file is missing, no array, of another width or type, or without frames; the
            files have both layouts, or none of them shows which one.
    """
    arrays = {name: _checked(path, feature_dim) for name, path in paths.items()}
    shown: dict[bool, Path] = {}
    for name, array in arrays.items():
        if array.shape[0] != array.shape[1]:
            shown.setdefault(array.shape[0] != feature_dim, paths[name])
    if layout is None and arrays and len(shown) != 1:
        why = (
            f"{shown[False]} is channels x frames and {shown[True]} frames x channels"
            if shown
            else f"{next(iter(paths.values()))} has as many frames as channels, as all others have"
        )
        raise DataError(
            f"{why}: the layout of square arrays is unknown; give it with --layout "
            f"{' or '.join(LAYOUTS)}"
        )
    square = next(iter(shown), False) if layout is None else layout == "frames-first"
    return {
        name: _array_file(paths[name], array, _turned(array, feature_dim, square))
        for name, array in arrays.items()
    }


def _turned(array: np.memmap, feature_dim: int, square: bool) -> bool:
    """Tell whether frames are the first axis; `square` is the answer for a square array."""
    num_rows, num_columns = array.shape
    return square if num_rows == num_columns else num_rows != feature_dim


def _array_file(path: Path, array: np.memmap, turned: bool) -> ArrayFile:
    num_frames = array.shape[0 if turned else 1]
    if num_frames == 0:
        raise DataError(f"{path}: has no frames")
    frames_together = turned != array.flags.f_contiguous
    return ArrayFile(path, num_frames, turned, frames_together, array.dtype, array.offset)


def _checked(path: Path, feature_dim: int) -> np.memmap:
    """Map an array and see that it can be features."""
    array = _map(path)
    if array.ndim != 2 or feature_dim not in array.shape:
        raise DataError(
            f"{path}: found an array of shape {array.shape}, expected ({feature_dim}, frames); "
            "give another width with --feature-dim"
        )
    if array.dtype.kind != "f":
        raise DataError(
            f"{path}: found numbers of type {array.dtype}, expected floating point numbers; "
            "save the array again with .astype('float32')"
        )
    return array


class ArraySlice(NamedTuple):
    """The columns of a feature file from `first` on."""

    file: ArrayFile
    first: int = 0


class ArrayFeatures:
    """Source of features in `.npy` files.

    Args:
        slices: Where the features of each video are.
        feature_dim: Width of the features.
        stride: Frames from one row to the next.
    """

    synthetic = False

    def __init__(self, slices: Mapping[str, ArraySlice], feature_dim: int, stride: int) -> None:
        self.feature_dim = feature_dim
        self._slices = slices
        self._stride = stride

    def describe(self) -> dict[str, Any]:
        """Return the kind of the files."""
        return {"features": "npy"}

    def fingerprint(self) -> str:
        """Return names, sizes and times of change of all files."""
        states = [
            (str(file.path), first, status.st_size, status.st_mtime_ns)
            for file, first in self._slices.values()
            for status in (file.path.stat(),)
        ]
        return repr((self.feature_dim, self._stride, states))

    def rows(self, video: LabelledVideo) -> Iterator[Float[np.ndarray, "rows feature"]]:
        """Yield the features of frames 0, stride, 2 stride .. of a video in blocks.

        Raises:
            DataError: A value is not finite.
        """
        file, first = self._slices[video.video_id]
        block = max(1, _BLOCK_BYTES // (4 * self.feature_dim * self._stride)) * self._stride
        stop = first + video.num_feature_frames
        for start in range(first, stop, block):
            frames = read_frames(file, self.feature_dim, start, min(start + block, stop))
            rows = np.ascontiguousarray(frames[:: self._stride])
            finite = np.isfinite(rows).all(axis=1)
            if not finite.all():
                frame = start + int(np.argmin(finite)) * self._stride
                raise DataError(f"{file.path}: frame {frame} holds NaN or infinity")
            yield rows


class TickArrays(NamedTuple):
    """A folder with `<video>.npy`, floats (ticks, width): TeSTra's layout, at one constant rate R.

    Tick t, from 0 on, shows frame 1 + floor(30 t / R) of the annotation: the rule of the data file.
    A frame thus reads the last tick at or before it. Numbers count ticks from 1 on.
    """

    path: Path
    feature_dim: int
    fps: Fraction
    """Ticks per second R."""

    def __str__(self) -> str:
        rate = f"{float(self.fps):g}"
        return f"{self.path}: {rate} ticks per second, tick t is frame 1 + floor({FPS} t / {rate})"

    def state(self) -> object:
        """Return names, sizes and times of change of all files."""
        files = [(file.name, file.stat()) for file in sorted(self.path.glob("*.npy"))]
        return str(self), [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files]

    def present(self, video_id: str) -> Int[np.ndarray, " numbers"]:
        """Return the numbers of the ticks of a video.

        Raises:
            DataError: Its file is missing, damaged, or holds no floats of this width.
        """
        return np.arange(1, self._file(video_id).num_frames + 1)

    def numbers(
        self, video_id: str, frames: Int[np.ndarray, " frames"]
    ) -> Int[np.ndarray, " frames"]:
        """Return the tick of each frame: ceil(n R / 30), counted from 1."""
        ratio = self.fps / FPS
        return -(-frames * ratio.numerator // ratio.denominator)

    def last_frame(self, video_id: str, number: int) -> int:
        """Return the last frame that reads a tick: floor(30 number / R)."""
        return int(number * FPS / self.fps)

    def read(
        self, video_id: str, numbers: Int[np.ndarray, " rows"]
    ) -> Float[np.ndarray, "rows feature"]:
        """Return some ticks, which are neighbours more or less.

        Raises:
            DataError: A value is not finite.
        """
        first = int(numbers.min())
        file = self._file(video_id)
        rows = read_frames(file, self.feature_dim, first - 1, int(numbers.max()))
        rows = rows[numbers - first]
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            tick = int(numbers[np.argmin(finite)]) - 1
            raise DataError(f"{file.path}: tick {tick} holds NaN or infinity")
        return rows

    def _file(self, video_id: str) -> ArrayFile:
        path = self.path / f"{video_id}.npy"
        array = _map(path)
        if array.ndim != 2 or array.shape[1] != self.feature_dim or array.dtype.kind != "f":
            raise DataError(
                f"{path}: found {array.dtype} of shape {array.shape}, expected floating point "
                f"numbers of shape (ticks, {self.feature_dim}) as in the other files"
            )
        return _array_file(path, array, turned=True)


def tick_arrays(folder: Path, fps: Fraction) -> TickArrays:
    """Return the arrays of a folder, whose width is that of the first one.

    Args:
        folder: Holds one `.npy` per video.
        fps: Ticks per second.

    Raises:
        DataError: The first file is damaged or no array of two axes.
    """
    first = min(folder.glob("*.npy"))
    array = _map(first)
    if array.ndim != 2:
        raise DataError(f"{first}: found an array of shape {array.shape}, expected (ticks, width)")
    return TickArrays(folder, array.shape[1], fps)


def read_frames(
    file: ArrayFile, feature_dim: int, start: int, stop: int
) -> Float[np.ndarray, "frames feature"]:
    """Read consecutive frames of a file.

    Plain reads rather than a memory map: a map counts every page it has touched, and some around,
    as memory of the process.
    """
    with file.path.open("rb") as raw:
        if file.frames_together:
            raw.seek(file.offset + start * feature_dim * file.dtype.itemsize)
            flat = np.fromfile(raw, file.dtype, (stop - start) * feature_dim)
            return flat.reshape(stop - start, feature_dim)
        channels = np.empty((feature_dim, stop - start), file.dtype)
        for number, channel in enumerate(channels):
            raw.seek(file.offset + (number * file.num_frames + start) * file.dtype.itemsize)
            channel[:] = np.fromfile(raw, file.dtype, stop - start)
    return channels.T


def _map(path: Path) -> np.memmap:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such feature file; give its folder with --features, leave such videos out "
            f"with --allow-missing, or use --synthesize-features"
        ) from error
    except (OSError, ValueError, EOFError, ArithmeticError, TypeError) as error:
        raise DataError(f"{path}: not a complete .npy file ({error})") from error
    if not isinstance(array, np.memmap):
        raise DataError(
            f"{path}: found an archive of several arrays (.npz), expected one array; save it with "
            "numpy.save"
        )
    return array
