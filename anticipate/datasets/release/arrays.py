"""Features in `.npy` files: one array per video, time along either axis."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from anticipate.datasets.release.releases import LabelledVideo
from anticipate.errors import DataError

_BLOCK_BYTES = 1 << 25  # one block per worker is in memory


class ArrayFile(NamedTuple):
    """What the header of a feature file tells."""

    path: Path
    num_frames: int
    turned: bool
    """Whether rows are frames; published files have columns for frames."""
    frames_together: bool
    """Whether the values of a frame are neighbours in the file."""
    dtype: np.dtype
    offset: int
    """Bytes before the first value."""


def array_file(path: Path, feature_dim: int) -> ArrayFile:
    """Read the header of a feature file.

    Raises:
        DataError: The file is missing, no array, or has no axis of `feature_dim`.
    """
    array = _map(path)
    if array.ndim != 2 or feature_dim not in array.shape or array.dtype.kind != "f":
        raise DataError(
            f"{path}: found {array.dtype} of shape {array.shape}, expected floating point numbers "
            f"of shape ({feature_dim}, frames); give another width with --feature-dim"
        )
    turned = array.shape[0] != feature_dim
    num_frames = array.shape[0 if turned else 1]
    if num_frames == 0:
        raise DataError(f"{path}: has no frames")
    frames_together = turned != array.flags.f_contiguous
    return ArrayFile(path, num_frames, turned, frames_together, array.dtype, array.offset)


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
            frames = _read(file, self.feature_dim, start, min(start + block, stop))
            rows = np.ascontiguousarray(frames[:: self._stride])
            finite = np.isfinite(rows).all(axis=1)
            if not finite.all():
                frame = start + int(np.argmin(finite)) * self._stride
                raise DataError(f"{file.path}: frame {frame} holds NaN or infinity")
            yield rows


def _read(
    file: ArrayFile, feature_dim: int, start: int, stop: int
) -> Float[np.ndarray, "frames feature"]:
    """Read consecutive frames.

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
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a complete .npy file ({error})") from error
    return array
