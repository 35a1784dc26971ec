"""The predictions file of dense anticipation.

One HDF5 group per video id; in it one data set per observation ratio, named `obs_0.2`: integers of
shape (num_samples, num_frames) at the annotation rate, frame 0 = first frame of the video; -200 is
no class. Root attributes, all optional: `dataset`, `split`, `synthetic`, `run`, `method`, and
`observation`: whose labels the observed part has.
"""

import zlib
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Integer

from anticipate.errors import DataError
from anticipate.horizons import ratio_name
from anticipate.protocol.predictions_file import PredictionsReader, PredictionsWriter, one_line

PREFIX = "obs_"


class DensePredictionsWriter(PredictionsWriter):
    """Write a predictions file; it gets its final name when the `with` block ends without an error.

    Args:
        path: The file to make; one of that name is replaced.
        attributes: Root attributes (`dataset`, `split`, `synthetic`, `run`, `method`, ..).
    """

    def add(
        self, video_id: str, obs_ratio: float, preds: Integer[np.ndarray, "samples frames"]
    ) -> None:
        """Store the sampled futures of one video in the smallest type that holds the classes.

        Args:
            video_id: Id of the video in the data file.
            obs_ratio: Observed share of the video.
            preds: Classes from the first frame of the video to the longest horizon; NO_LABEL for
                none.

        Raises:
            DataError: The file cannot be written.
        """
        smallest = np.result_type(*map(np.min_scalar_type, (preds.min(), preds.max())))
        stored = np.ascontiguousarray(preds, smallest)
        with self._writing():
            array = self._file.create_dataset(
                f"{video_id}/{PREFIX}{ratio_name(obs_ratio)}",
                shape=stored.shape,
                dtype=stored.dtype,
                chunks=stored.shape,
                compression="gzip",
            )
            # Written here and now: HDF5 would do it when it closes the array, and drop the error
            # of a full disk. Runs of equal bytes: the fastest level shrinks them well.
            array.id.write_direct_chunk((0, 0), zlib.compress(stored.tobytes(), 1))


class DensePredictionsReader(PredictionsReader):
    """Read-only view of a predictions file, from this package or other code.

    Args:
        path: The HDF5 file.

    Raises:
        DataError: The file is missing, damaged, empty or laid out in another way.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._videos = {name: self._ratios_of(name) for name in self._file}
        if not any(self._videos.values()):
            raise DataError(
                f"{self.path}: no predictions inside; expected groups named by video id"
            )

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
                f"{self.path}: {video_id}/{name} is damaged ({one_line(error)}); write it again"
            ) from error

    def _ratios_of(self, video_id: str) -> dict[float, str]:
        group = self._file[video_id]
        if not isinstance(group, h5py.Group):
            raise DataError(
                f"{self.path}: '{video_id}' is an array; expected one group per video id, with "
                f"arrays named like {PREFIX}0.2 inside"
            )
        names: dict[float, str] = {}
        for name in group:
            ratio = self._ratio(video_id, name)
            if ratio in names:
                raise DataError(
                    f"{self.path}: '{names[ratio]}' and '{name}' of video '{video_id}' are one "
                    "observation ratio: keep one of them"
                )
            names[ratio] = name
        return names

    def _ratio(self, video_id: str, name: str) -> float:
        number = name.removeprefix(PREFIX)
        is_number = number != name and number.isascii() and number.replace(".", "", 1).isdigit()
        ratio = float(number) if is_number else 0.0
        if not 0 < ratio < 1:
            raise DataError(
                f"{self.path}: '{video_id}/{name}' is no known name; expected {PREFIX} and an "
                f"observation ratio between 0 and 1, like {PREFIX}0.2"
            )
        return ratio
