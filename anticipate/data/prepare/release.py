"""What every release is read into before its data file is written."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int16


class LabelledVideo(NamedTuple):
    """A video with its annotation."""

    video_id: str
    labels: Int16[np.ndarray, " frames"]
    """Class id of every frame."""
    activity: str
    num_feature_frames: int
    """Frames at the beginning that have features; fewer than labels only in Assembly101."""


class Release(NamedTuple):
    """The annotation of a whole release, checked, in memory (labels are small)."""

    dataset: str
    fps: float
    classes: tuple[str, ...]
    videos: tuple[LabelledVideo, ...]
    splits: Mapping[str, Mapping[str, Sequence[str]]]
    source: str
    notes: Mapping[str, Any] = MappingProxyType({})
    """What was skipped, cut or turned; becomes the notes of the data file."""

    def without(self, video_ids: Collection[str]) -> "Release":
        """Return the release without some videos."""
        splits = {
            k: {part: [v for v in ids if v not in video_ids] for part, ids in parts.items()}
            for k, parts in self.splits.items()
        }
        videos = tuple(video for video in self.videos if video.video_id not in video_ids)
        return self._replace(videos=videos, splits=splits)

    def mended(self, videos: tuple[LabelledVideo, ...], notes: Mapping[str, Any]) -> "Release":
        """Return the release with the same videos, some of them cut, and notes that say so."""
        return self._replace(videos=videos, notes={**self.notes, **notes})


@runtime_checkable
class FeatureSource(Protocol):
    """Where the features of a release come from: files or synthesis."""

    feature_dim: int
    synthetic: bool

    def describe(self) -> dict[str, Any]:
        """Return settings and counts for the notes of the data file."""
        ...

    def fingerprint(self) -> str:
        """Return a text that changes whenever the features change."""
        ...

    def rows(self, video: LabelledVideo) -> Iterator[Float[np.ndarray, "rows feature"]]:
        """Yield blocks of the rows of frames 0, stride, 2 stride .. below `num_feature_frames`."""
        ...
