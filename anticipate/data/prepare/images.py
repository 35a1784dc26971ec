"""Features in the official LMDBs of Assembly101: one database per view, one value per image."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lmdb
import numpy as np
from jaxtyping import Float32

from anticipate.data.prepare.databases import database_state, decode_row, reading
from anticipate.data.prepare.release import LabelledVideo
from anticipate.errors import DataError

_BLOCK_BYTES = 1 << 25
_FIRST_IMAGE = 1


class ImageSequence(NamedTuple):
    """The images of one video in the database of its view."""

    database: Path
    """Folder of the database, named after the view."""
    sequence: str
    first_frame: int
    """Number of the first labelled frame."""

    def key(self, frame: int) -> bytes:
        """Return the key of the image of a frame, counted from the first labelled one."""
        view = self.database.name
        image = max(_FIRST_IMAGE, self.first_frame + frame)
        return f"{self.sequence}/{view}/{view}_{image:010d}.jpg".encode()


def count_images(images: ImageSequence, num_frames: int) -> int:
    """Return how many of `num_frames` frames have features; they are a prefix."""
    with reading(images.database) as transaction:
        low, high = 0, num_frames
        while low < high:
            middle = (low + high) // 2
            if transaction.get(images.key(middle)) is None:
                high = middle
            else:
                low = middle + 1
    return low


class ImageFeatures:
    """Source of features in LMDBs.

    Args:
        sequences: Where the images of each video are.
        feature_dim: Width of the features.
        stride: Frames from one row to the next.
    """

    synthetic = False

    def __init__(
        self, sequences: Mapping[str, ImageSequence], feature_dim: int, stride: int
    ) -> None:
        self.feature_dim = feature_dim
        self._sequences = sequences
        self._stride = stride

    def describe(self) -> dict[str, Any]:
        """Return the kind of the files."""
        return {"features": "lmdb"}

    def fingerprint(self) -> str:
        """Return names, sizes and times of change of all databases."""
        databases = sorted({images.database for images in self._sequences.values()})
        states = [database_state(database) for database in databases]
        return repr((self.feature_dim, self._stride, states))

    def rows(self, video: LabelledVideo) -> Iterator[Float32[np.ndarray, "rows feature"]]:
        """Yield the features of frames 0, stride, 2 stride .. of a video in blocks.

        Raises:
            DataError: An image is missing, of another width or not finite.
        """
        images = self._sequences[video.video_id]
        frames = range(0, video.num_feature_frames, self._stride)
        block = max(1, _BLOCK_BYTES // (4 * self.feature_dim))
        for start in range(0, len(frames), block):
            # a database is closed after each block, so that the pages it has read are freed
            with reading(images.database) as transaction:
                keys = [images.key(frame) for frame in frames[start : start + block]]
                rows = [_row(transaction, images.database, key, self.feature_dim) for key in keys]
            yield np.stack(rows)


def _row(
    transaction: lmdb.Transaction, database: Path, key: bytes, feature_dim: int
) -> Float32[np.ndarray, " feature"]:
    where, value = f"{database}: '{key.decode()}'", transaction.get(key)
    if value is None:
        raise DataError(f"{where} is missing, though later images are there")
    return decode_row(value, feature_dim, where)
