"""`ShortTermStore` reads the data file of a short-term data set.

CONTRIBUTING.md tabulates the layout; `anticipate.data.prepare.short_term_writer.ShortTermWriter`
writes it.
"""

from collections.abc import Mapping
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from anticipate.data.data_file import MAKE_WITH, DataFile, to_float32
from anticipate.data.frame_rate import rows_of_frames
from anticipate.data.segment_table import NUMBERS, SegmentTable
from anticipate.errors import ConfigError
from anticipate.types import Taxonomy


class ShortTermStore(DataFile):
    """Read-only view of a short-term data file: videos and the segments to anticipate in them.

    Frames are counted from 1 at the annotation rate `fps`.
    """

    expected_kind = "short_term"

    def __init__(self, path: str | Path, make_with: str = MAKE_WITH) -> None:
        super().__init__(path, make_with)
        self._mapped: dict[str, np.ndarray] = {}

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        self._mapped = {}
        super().close()

    def __enter__(self) -> "ShortTermStore":
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_mapped": {}}

    @cached_property
    def fps(self) -> int:
        """Annotation rate in frames per second."""
        return int(self._attribute("fps"))

    @cached_property
    def feature_fps(self) -> Fraction:
        """Stored feature rows per second."""
        return Fraction(str(float(self._attribute("feature_fps"))))

    @cached_property
    def verbs(self) -> tuple[str, ...]:
        """Verb names; the position is the verb id."""
        return self._text("verbs")

    @cached_property
    def nouns(self) -> tuple[str, ...]:
        """Noun names; the position is the noun id."""
        return self._text("nouns")

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """Verb and noun of each action."""
        pairs = self._file["taxonomy"][:]
        verbs, nouns = (tuple(column.tolist()) for column in pairs.T)
        return Taxonomy(verbs, nouns, len(self.verbs), len(self.nouns))

    @cached_property
    def subsets(self) -> Mapping[str, frozenset[str]]:
        """Segment ids of each named subset."""
        return {name: frozenset(ids.asstr()[:]) for name, ids in self._file["subsets"].items()}

    @cached_property
    def class_subsets(self) -> Mapping[str, frozenset[int]]:
        """Verb, noun or action ids of each named subset."""
        subsets = self._file["class_subsets"]
        return {name: frozenset(ids[:].tolist()) for name, ids in subsets.items()}

    @cached_property
    def num_rows(self) -> dict[str, dict[str, int]]:
        """Segments of each part of each split."""
        return {
            k: {part: len(columns["id"]) for part, columns in parts.items()}
            for k, parts in self._file["splits"].items()
        }

    def rows(self, k: int | str, part: str) -> SegmentTable:
        """Return the segments of one part of split `k`.

        Raises:
            ConfigError: The file holds no such split or part.
        """
        parts = self.num_rows.get(str(k))
        if parts is None:
            known = ", ".join(self.num_rows)
            raise ConfigError(f"{self.path}: no split '{k}'; choose one of: {known}")
        if part not in parts:
            raise ConfigError(
                f"{self.path}: split {k} has no part '{part}', only {', '.join(parts)}"
            )
        columns = self._file["splits"][str(k)][part]
        segment_ids, video_ids = (tuple(columns[name].asstr()[:]) for name in ("id", "video"))
        return SegmentTable(segment_ids, video_ids, *(columns[name][:] for name in NUMBERS))

    def num_frames(self, video_id: str) -> int:
        """Return the length of a video at the annotation rate, which is its last frame."""
        return int(self._video(video_id).attrs["num_frames"])

    def participant(self, video_id: str) -> str:
        """Return who recorded a video; empty where the release does not tell."""
        return str(self._video(video_id).attrs["participant"])

    def features_at(
        self, video_id: str, frames: Int[np.ndarray, " steps"]
    ) -> Float32[np.ndarray, "steps feature"]:
        """Return what was stored last at or before each frame; only those rows are read.

        Args:
            video_id: Video.
            frames: Frame numbers. Those below 1 lie before the video and give zeros, those beyond
                its end the last row.
        """
        stored = self._stored(video_id)
        rows = rows_of_frames(frames, self.fps, self.feature_fps)
        features = to_float32(stored[rows.clip(0, len(stored) - 1)])
        features[rows < 0] = 0.0
        return features

    def _stored(self, video_id: str) -> np.ndarray:
        """Map the features of a video; looking an array up in HDF5 costs more than reading it."""
        features = self._mapped.get(video_id)
        if features is None:
            features = self._mapped[video_id] = self._array(self._video(video_id)["features"])
        return features
