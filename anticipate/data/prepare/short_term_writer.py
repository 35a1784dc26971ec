"""`ShortTermWriter` writes the data file of a short-term data set.

The layout is tabulated in CONTRIBUTING.md and read by
`anticipate.data.short_term_store.ShortTermStore`.
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple

import h5py
import numpy as np

from anticipate.data.frame_rate import count_rows
from anticipate.data.prepare.partial_file import PartialFile, write_text
from anticipate.data.prepare.short_term_release import FPS, RecordedVideo, ShortTermRelease
from anticipate.data.segment_table import NUMBERS, SegmentTable


class FeatureFormat(NamedTuple):
    """How the features of all videos are stored."""

    fps: Fraction
    """Stored rows per second."""
    feature_dim: int
    dtype: Literal["float16", "float32"]
    synthetic: bool
    """Whether the features were made from the labels."""


class ShortTermWriter(PartialFile):
    """Write one short-term data file; use it as a context manager and end with `finish`.

    Args:
        path: The file to make.
        release: The annotation.
        features: How the features are stored.
        recipe: Fingerprint of annotation and features.
        overwrite: Replace an existing file.

    Raises:
        DataError: The file exists already, another process writes it, or the disk is full.
    """

    last_attribute = "num_frames"

    def __init__(
        self,
        path: str | Path,
        release: ShortTermRelease,
        features: FeatureFormat,
        recipe: str,
        overwrite: bool = False,
    ) -> None:
        attributes = {
            "dataset": release.dataset,
            "kind": "short_term",
            "fps": FPS,
            "feature_fps": float(features.fps),
            "feature_dim": features.feature_dim,
            "dtype": features.dtype,
            "synthetic": features.synthetic,
            "source": release.source,
        }
        vocabulary = release.vocabulary
        names = {
            "classes": vocabulary.actions,
            "verbs": vocabulary.verbs,
            "nouns": vocabulary.nouns,
        }
        super().__init__(path, attributes, names, recipe, overwrite)
        self._release = release
        self._fps = features.fps

    def __enter__(self) -> "ShortTermWriter":
        self._enter()
        return self

    def add_video(self, video: RecordedVideo, features: Iterable[np.ndarray]) -> None:
        """Write one video.

        Args:
            video: Facts of the video.
            features: Blocks of consecutive feature rows.
        """
        with self._writing():
            group = self._file["videos"].create_group(video.video_id)
            group.attrs["participant"] = video.participant
        rows = count_rows(video.num_frames, FPS, self._fps)
        self._write_features(group, features, rows)
        with self._writing():
            group.attrs[self.last_attribute] = video.num_frames

    def finish(self, notes: Mapping[str, Any]) -> None:
        """Write the annotation and give the file its final name.

        Args:
            notes: What was counted and what differs from the published release; stored as JSON.
        """
        release = self._release
        with self._writing():
            self._file["taxonomy"] = np.array(release.vocabulary.pairs, "<i4")
            for k, parts in release.splits.items():
                split = self._file["splits"].create_group(k, track_order=True)
                for part, segments in parts.items():
                    _write_segments(split.create_group(part, track_order=True), segments)
            subsets = self._file.create_group("subsets")
            for name, segment_ids in release.subsets.items():
                write_text(subsets, name, segment_ids)
            class_subsets = self._file.create_group("class_subsets")
            for name, classes in release.class_subsets.items():
                class_subsets[name] = np.array(classes, "<i4")
        self._complete(notes)


def _write_segments(part: h5py.Group, segments: SegmentTable) -> None:
    write_text(part, "id", segments.segment_ids)
    write_text(part, "video", segments.video_ids)
    for name, column in zip(NUMBERS, segments.numbers, strict=True):
        part[name] = column.astype("<i4")
