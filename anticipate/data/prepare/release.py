"""What every release is read into before its data file is written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Int16

from anticipate.errors import DataError


class LabelledVideo(NamedTuple):
    """A video with its annotation."""

    video_id: str
    labels: Int16[np.ndarray, " frames"]
    """Class id of every frame."""
    activity: str
    num_feature_frames: int
    """Frames at the beginning that have features; fewer than labels only in Assembly101."""


@dataclass(frozen=True)
class Release:
    """The annotation of a whole release, checked, in memory (labels are small)."""

    dataset: str
    fps: float
    classes: tuple[str, ...]
    videos: tuple[LabelledVideo, ...]
    splits: Mapping[str, Mapping[str, Sequence[str]]]
    source: str
    notes: dict[str, Any] = field(default_factory=dict)
    """What was skipped, cut or turned; becomes the notes of the data file."""


class FeatureSource(Protocol):
    """Where the features of a release come from: files or synthesis."""

    feature_dim: int
    synthetic: bool

    def describe(self) -> dict[str, Any]:
        """Return the settings that decide the content, for the notes of the file."""
        ...

    def rows(self, video: LabelledVideo) -> Iterator[Float[np.ndarray, "rows feature"]]:
        """Yield blocks of the rows of frames 0, stride, 2 stride .. below `num_feature_frames`."""
        ...


def check_unique(names: Sequence[str], where: object) -> None:
    """Raise DataError when a name occurs twice in the lines of a file."""
    seen: dict[str, int] = {}
    for line, name in enumerate(names, start=1):
        if name in seen:
            raise DataError(f"{where}:{line}: '{name}' again, first on line {seen[name]}; drop one")
        seen[name] = line
