"""The data file of a short-term data set: `ShortTermStore` reads it, `ShortTermWriter` makes it.

`anticipate/datasets/README.md` tabulates the layout.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
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

    Args:
        path: The HDF5 file.
        make_with: Command that makes the file, named in errors.
        streams: Streams to read, in the order of the columns wanted; None for all.
    """

    expected_kind = "short_term"

    def __init__(
        self, path: str | Path, make_with: str = MAKE_WITH, streams: Sequence[str] | None = None
    ) -> None:
        super().__init__(path, make_with)
        self._chosen = streams
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
    def streams(self) -> Mapping[str, int]:
        """Width of each stream that is read, in the order of the columns; none where unnamed.

        Raises:
            ConfigError: A stream was chosen that the file does not have, or one twice.
            DataError: The widths of the file are not those of its features.
        """
        stored = self._stored_streams
        if self._chosen is None:
            return stored
        for name in self._chosen:
            if name not in stored:
                known = ", ".join(f"{one} ({width})" for one, width in stored.items())
                known = known or f"one unnamed stream of width {self._stored_dim}"
                raise ConfigError(
                    f"streams names '{name}', but {self.path} has {known}: name those, none to "
                    "read all, or prepare the file again with --stream"
                )
        if not self._chosen or len(set(self._chosen)) < len(self._chosen):
            raise ConfigError(f"streams is {[*self._chosen]}: expected different names")
        return {name: stored[name] for name in self._chosen}

    @cached_property
    def _stored_streams(self) -> Mapping[str, int]:
        streams: dict[str, int] = json.loads(self._file.attrs.get("streams", "{}"))
        if streams and sum(streams.values()) != self._stored_dim:
            widths = " + ".join(f"{name} {width}" for name, width in streams.items())
            raise DataError(
                f"{self.path}: the widths of its streams do not add up to that of its features: "
                f"{widths}, expected {self._stored_dim}; make it again with: {self.make_with}"
            )
        return streams

    @property
    def _stored_dim(self) -> int:
        return int(self._attribute("feature_dim"))

    @cached_property
    def feature_dim(self) -> int:
        """Width of a feature row: of all streams that are read."""
        return sum(self.streams.values()) or self._stored_dim

    @cached_property
    def _columns(self) -> tuple[slice, ...]:
        """Where the streams that are read lie in a stored row."""
        if self._chosen is None:
            return (slice(None),)
        names, widths = zip(*self._stored_streams.items(), strict=True)
        ends = dict(zip(names, accumulate(widths), strict=True))
        return tuple(slice(ends[name] - width, ends[name]) for name, width in self.streams.items())

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
        """Return what was stored last at or before each frame; only those values are read.

        Args:
            video_id: Video.
            frames: Frame numbers. Those below 1 lie before the video and give zeros, those beyond
                its end the last row.
        """
        stored = self._stored(video_id)
        self._check_length()
        rows = rows_of_frames(frames, self.fps, self.feature_fps)
        rows_there = rows.clip(0, len(stored) - 1)
        features = np.concatenate(
            [to_float32(stored[:, columns][rows_there]) for columns in self._columns], axis=1
        )
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
    streams: Mapping[str, int] = MappingProxyType({})
    """Name and width of each stream, in the order of the columns; none for one unnamed stream."""


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
        attributes: dict[str, Any] = {
            "dataset": release.dataset,
            "kind": "short_term",
            "fps": FPS,
            "feature_fps": float(features.fps),
            "feature_dim": features.feature_dim,
            "dtype": features.dtype,
            "synthetic": features.synthetic,
            "source": release.source,
        }
        if features.streams:
            attributes["streams"] = json.dumps(dict(features.streams))
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
