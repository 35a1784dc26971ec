"""`FeatureStore` reads the data file of a dense data set.

CONTRIBUTING.md tabulates the layout; `anticipate.data.prepare.writer.StoreWriter` writes it.
"""

import mmap
from functools import cached_property

import h5py
import numpy as np
from jaxtyping import Float32, Int16

from anticipate.data.data_file import CAN_ADVISE, DataFile, to_float32
from anticipate.errors import ConfigError


class FeatureStore(DataFile):
    """Read-only view of a dense data file: whole videos with a label for every frame."""

    expected_kind = "dense"
    arrays = ("labels", "features")

    def __enter__(self) -> "FeatureStore":
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
        return to_float32(np.array(stored[:: sample_rate // self.stride]))

    def _fetch(self, array: h5py.Dataset, num_rows: int) -> None:
        """Have the kernel read the first rows of an array at once, not page by page."""
        if not CAN_ADVISE or not num_rows:
            return
        first = array.id.get_offset()
        start = first - first % mmap.PAGESIZE
        end = first + num_rows * array.dtype.itemsize * array.shape[1]
        self._opened().memory.madvise(mmap.MADV_WILLNEED, start, end - start)
