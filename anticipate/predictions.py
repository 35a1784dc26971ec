"""The predictions file: what `predict` (or anybody) writes and `score` reads.

One HDF5 group per video id; in it one data set per observation ratio, named `obs_0.2`: integers of
shape (num_samples, num_frames) at the annotation rate, frame 0 = first frame of the video. Root
attributes, all optional: `dataset`, `split`, `synthetic`, `run`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Integer

from anticipate.errors import DataError
from anticipate.metrics.windows import ratio_name

PREFIX = "obs_"


class PredictionsWriter:
    """Write a predictions file; it gets its final name when the `with` block ends without an error.

    Args:
        path: The file to make; one of that name is replaced.
        attributes: Root attributes (`dataset`, `split`, `synthetic`, `run`).
    """

    def __init__(self, path: str | Path, **attributes: Any) -> None:
        self.path = Path(path)
        self._attributes = attributes
        self._partial = self.path.with_name(f"{self.path.name}.partial")

    def __enter__(self) -> "PredictionsWriter":
        with self._writing():
            self._file = h5py.File(self._partial, "w")
            self._file.attrs.update(self._attributes)
        return self

    def add(
        self, video_id: str, obs_ratio: float, preds: Integer[np.ndarray, "samples frames"]
    ) -> None:
        """Store the sampled futures of one video in the smallest type that holds the classes.

        Args:
            video_id: Id of the video in the data file.
            obs_ratio: Observed share of the video.
            preds: Classes, none negative, from the first frame of the video to the longest horizon.

        Raises:
            DataError: The file cannot be written.
        """
        with self._writing():
            # Runs of equal bytes: the fastest gzip level shrinks them at no cost in time.
            self._file.create_dataset(
                f"{video_id}/{PREFIX}{ratio_name(obs_ratio)}",
                data=preds.astype(np.min_scalar_type(preds.max())),
                chunks=preds.shape,
                compression="gzip",
                compression_opts=1,
            )

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        try:
            with self._writing():
                self._file.close()
            if error_type is None:
                self._partial.replace(self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:  # HDF5 reports some failed writes as RuntimeError
            raise DataError(
                f"{self.path}: cannot be written ({_one_line(error)}); "
                f"check that the folder exists and the disk has room"
            ) from error


class PredictionsReader:
    """Read-only view of a predictions file, written by anybody.

    Args:
        path: The HDF5 file.

    Raises:
        DataError: The file is missing, damaged, empty or laid out in another way.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(
                f"{self.path}: no such predictions file; `anticipate predict` writes one"
            )
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise DataError(
                f"{self.path}: not an HDF5 file, or one that was cut off ({_one_line(error)}); "
                f"write it again"
            ) from error
        self._videos = {name: self._ratios_of(name) for name in self._file}
        if not any(self._videos.values()):
            raise DataError(
                f"{self.path}: no predictions inside; expected groups named by video id"
            )

    @property
    def attributes(self) -> dict[str, Any]:
        """Root attributes."""
        return dict(self._file.attrs)

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Ids of all videos, sorted."""
        return tuple(sorted(self._videos))

    @property
    def obs_ratios(self) -> tuple[float, ...]:
        """Every observation ratio that some video has, ascending."""
        return tuple(sorted({ratio for names in self._videos.values() for ratio in names}))

    def has(self, video_id: str, obs_ratio: float) -> bool:
        """Tell whether the file holds predictions of a video at an observation ratio."""
        return obs_ratio in self._videos.get(video_id, ())

    def read(self, video_id: str, obs_ratio: float) -> np.ndarray:
        """Return the predictions as they are stored, whatever their shape and type.

        Raises:
            DataError: The bytes cannot be read.
        """
        name = self._videos[video_id][obs_ratio]
        try:
            return np.asarray(self._file[video_id][name][()])
        except OSError as error:
            raise DataError(
                f"{self.path}: {video_id}/{name} is damaged ({_one_line(error)}); write it again"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "PredictionsReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ratios_of(self, video_id: str) -> dict[float, str]:
        group = self._file[video_id]
        if not isinstance(group, h5py.Group):
            raise DataError(
                f"{self.path}: '{video_id}' is an array; expected one group per video id, with "
                f"arrays named like {PREFIX}0.2 inside"
            )
        return {self._ratio(video_id, name): name for name in group}

    def _ratio(self, video_id: str, name: str) -> float:
        number = name.removeprefix(PREFIX)
        ratio = float(number) if number.replace(".", "", 1).isdigit() and number != name else 0.0
        if not 0 < ratio < 1:
            raise DataError(
                f"{self.path}: '{video_id}/{name}' is no known name; expected {PREFIX} and an "
                f"observation ratio between 0 and 1, like {PREFIX}0.2"
            )
        return ratio


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
