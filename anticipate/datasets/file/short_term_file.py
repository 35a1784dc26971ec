"""The data file of a short-term data set: `ShortTermStore` reads it, `ShortTermWriter` makes it.

`anticipate/datasets/README.md` tabulates the layout.
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import h5py
import numpy as np
from jaxtyping import Float32, Int

from anticipate.catalog import data_sets
from anticipate.datasets.file.data_file import MAKE_WITH, DataFile, to_float32
from anticipate.datasets.file.partial_file import PartialFile, write_text
from anticipate.datasets.file.segment_table import NUMBERS, SegmentTable
from anticipate.datasets.release.releases import FPS, RecordedVideo, ShortTermRelease
from anticipate.errors import ConfigError, DataError
from anticipate.files import check_name
from anticipate.types import ShortTermMeasures, ShortTermProtocol, Taxonomy


def rows_of_frames(
    frames: Int[np.ndarray, " frames"], fps: int, stored_fps: Fraction
) -> Int[np.ndarray, " frames"]:
    """Return the last stored row at or before each frame: ceil(n R / f) - 1.

    Args:
        frames: Frame numbers n from 1 on; others give a negative row.
        fps: Annotation rate f.
        stored_fps: Stored rate R.
    """
    ratio = stored_fps / fps
    rows: np.ndarray = -(-frames.astype(np.int64) * ratio.numerator // ratio.denominator) - 1
    return rows


def frames_of_rows(num_rows: int, fps: int, stored_fps: Fraction) -> Int[np.ndarray, " rows"]:
    """Return the frame number of each stored row.

    Args:
        num_rows: Rows to count.
        fps: Annotation rate f.
        stored_fps: Stored rate R.
    """
    ratio = fps / stored_fps
    frames: np.ndarray = 1 + np.arange(num_rows) * ratio.numerator // ratio.denominator
    return frames


def count_rows(num_frames: int, fps: int, stored_fps: Fraction) -> int:
    """Return how many rows a video has: those whose frame is at most `num_frames`.

    Args:
        num_frames: Length of the video, its last frame.
        fps: Annotation rate f.
        stored_fps: Stored rate R.
    """
    ratio = num_frames * stored_fps / fps
    return -(-ratio.numerator // ratio.denominator)


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

    def protocol(self, measures: ShortTermMeasures | None = None) -> ShortTermProtocol:
        """Return what is scored, and on which rows and classes.

        Args:
            measures: Whose measures are computed; by default those of the data set or, of one that
                the package does not know, those that the subsets of the file allow.
        """
        known = data_sets().get(self.dataset)
        measures = measures or (known.fact("measures") if known else self._possible_measures())
        return ShortTermProtocol(measures, self.taxonomy, self.subsets, self.class_subsets)

    def _possible_measures(self) -> ShortTermMeasures:
        if any(self.subsets.get(name) for name in ("unseen", "tail_action")):
            return "ek100"
        return "ek55" if self.class_subsets.get("many_shot_action") else "egtea"

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

    def _division(self) -> object:
        tables = [self.rows(k, part) for k, parts in self.num_rows.items() for part in parts]
        columns = [(t.segment_ids, t.video_ids, *(n.tolist() for n in t.numbers)) for t in tables]
        return self.num_rows, columns, self.taxonomy

    def num_frames(self, video_id: str) -> int:
        """Return the length of a video at the annotation rate, which is its last frame."""
        return int(self._video(video_id).attrs["num_frames"])

    def participant(self, video_id: str) -> str:
        """Return who recorded a video; empty where the release does not state it."""
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
        self._check_length()
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
        check_name(video.video_id, "the id of a video", DataError)
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
