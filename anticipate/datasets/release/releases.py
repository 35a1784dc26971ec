"""What a release of either task is read into before its data file is written."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int16

from anticipate.datasets.file.segment_table import SegmentTable, joined
from anticipate.errors import DataError


class LabelledVideo(NamedTuple):
    """A video with its annotation."""

    video_id: str
    labels: Int16[np.ndarray, " frames"]
    """Class id of every frame."""
    activity: str
    num_feature_frames: int
    """Frames at the beginning that have features; fewer than labels only in Assembly101."""


class DenseRelease(NamedTuple):
    """The annotation of a whole release, checked, in memory (labels are small)."""

    dataset: str
    fps: float
    classes: tuple[str, ...]
    videos: tuple[LabelledVideo, ...]
    splits: Mapping[str, Mapping[str, Sequence[str]]]
    source: str
    notes: Mapping[str, Any] = MappingProxyType({})
    """What was skipped, cut or turned; becomes the notes of the data file."""

    def without(self, video_ids: Collection[str]) -> "DenseRelease":
        """Return the release without some videos."""
        splits = {
            k: {part: [v for v in ids if v not in video_ids] for part, ids in parts.items()}
            for k, parts in self.splits.items()
        }
        videos = tuple(video for video in self.videos if video.video_id not in video_ids)
        return self._replace(videos=videos, splits=splits)

    def mended(self, videos: tuple[LabelledVideo, ...], notes: Mapping[str, Any]) -> "DenseRelease":
        """Return the release with the same videos, some of them cut, and notes about that."""
        return self._replace(videos=videos, notes={**self.notes, **notes})


@runtime_checkable
class FeatureSource(Protocol):
    """Where the features of a release come from: files, databases or synthesis."""

    feature_dim: int
    synthetic: bool

    def describe(self) -> dict[str, Any]:
        """Return settings and counts for the notes of the data file."""
        ...

    def fingerprint(self) -> str:
        """Return a text that changes whenever the features change."""
        ...

    def rows(self, video: Any) -> Iterator[Float[np.ndarray, "rows feature"]]:
        """Yield all stored rows of a video in blocks.

        Args:
            video: A `LabelledVideo`, whose rows are frames 0, stride, 2 stride .. below
                `num_feature_frames`, or a `RecordedVideo`.
        """
        ...


FPS = 30
"""Frames per second that the annotation counts; EPIC-Kitchens and EGTEA were re-encoded to it."""


class Vocabulary(NamedTuple):
    """Names of the classes; the position is the id."""

    actions: tuple[str, ...]
    """Verb and noun with a space between."""
    verbs: tuple[str, ...]
    nouns: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    """Verb and noun of each action."""


class RecordedVideo(NamedTuple):
    """A video that segments lie in."""

    video_id: str
    num_frames: int
    """Its last frame, counted from 1 at the annotation rate."""
    participant: str
    """Who recorded it; empty where the release does not state it."""


class ShortTermRelease(NamedTuple):
    """The annotation of a whole release, checked, in memory."""

    dataset: str
    vocabulary: Vocabulary
    videos: tuple[RecordedVideo, ...]
    splits: Mapping[str, Mapping[str, SegmentTable]]
    """Segments of the parts `train`, `validation` and `test` of each split."""
    source: str
    subsets: Mapping[str, Sequence[str]] = MappingProxyType({})
    """Segment ids by name."""
    class_subsets: Mapping[str, Sequence[int]] = MappingProxyType({})
    """Verb, noun or action ids by name."""
    notes: Mapping[str, Any] = MappingProxyType({})
    """What differs from the published release; becomes the notes of the data file."""


def segments_by_video(
    splits: Mapping[str, Mapping[str, SegmentTable]],
) -> dict[str, SegmentTable]:
    """Return the different segments of each video over all parts of all splits, videos sorted.

    Args:
        splits: Segments of each part of each split; splits may repeat those of others.
    """
    everything = joined([table for parts in splits.values() for table in parts.values()])
    _check_one_meaning(everything)
    first = np.sort(np.unique(np.array(everything.segment_ids), return_index=True)[1])
    distinct = everything.take(first)
    return {video_id: distinct.take(rows) for video_id, rows in sorted(distinct.by_video().items())}


def _check_one_meaning(segments: SegmentTable) -> None:
    """Check that an id names one segment in all splits.

    Raises:
        DataError: Two different segments have one id.
    """
    known: dict[str, tuple[object, ...]] = {}
    columns = (segments.video_ids, *(column.tolist() for column in segments.numbers))
    for segment_id, *segment in zip(segments.segment_ids, *columns, strict=True):
        if known.setdefault(segment_id, tuple(segment)) != tuple(segment):
            raise DataError(
                f"segment '{segment_id}' is in two places with different content: "
                f"{known[segment_id]} and {tuple(segment)} (video, start, end, classes); an id has "
                "to name one segment in all splits"
            )


FARTHEST = 2 * 3600
"""Seconds from the end of one segment to that of the next; more is a typing error that would make
a file of many gigabytes."""


def _check_lengths(segments: SegmentTable) -> None:
    """See that no segment is far behind the others of its video.

    Raises:
        DataError: It ends more than two hours after the one before.
    """
    order = segments.starts.argsort(kind="stable")
    ends = np.maximum.accumulate(segments.stops[order].astype(np.int64))
    late = np.diff(ends, prepend=0) > FARTHEST * FPS
    if late.any():
        row = int(order[np.argmax(late)])
        raise DataError(
            f"segment '{segments.segment_ids[row]}' of video '{segments.video_ids[row]}' is frame "
            f"{segments.starts[row]} to {segments.stops[row]}, more than two hours at {FPS} frames "
            "per second after the segments before it: correct its line"
        )


def labelled_videos(
    splits: Mapping[str, Mapping[str, SegmentTable]], participant: Callable[[str], str]
) -> tuple[RecordedVideo, ...]:
    """Return all videos that segments lie in, as long as their annotation and one second more.

    Args:
        splits: Segments of each part of each split.
        participant: Names who recorded a video.

    Raises:
        DataError: A segment is far behind the others of its video.
    """
    by_video = segments_by_video(splits)
    for segments in by_video.values():
        _check_lengths(segments)
    return tuple(
        RecordedVideo(video_id, int(segments.stops.max()) + FPS, participant(video_id))
        for video_id, segments in by_video.items()
    )
