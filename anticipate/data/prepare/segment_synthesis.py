"""Features of short-term data sets made from their segments, background included."""

import argparse
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Float32

from anticipate.data.frame_labels import frame_labels
from anticipate.data.frame_rate import count_rows, frames_of_rows
from anticipate.data.prepare.release import LabelledVideo
from anticipate.data.prepare.short_term_release import (
    FPS,
    RecordedVideo,
    ShortTermRelease,
    segments_by_video,
)
from anticipate.data.prepare.synthesis import SyntheticFeatures
from anticipate.data.segment_table import UNKNOWN


class SegmentFeatures:
    """Source of features synthesised from segments: those of the action that a frame shows.

    Where segments overlap the one that starts latest shows; frames without any show a background
    class of their own. Who records a video takes the part of the activity of dense videos.

    Args:
        release: Annotation of all videos.
        feature_dim: Width of the features.
        feature_fps: Rows per second.
        noise: Multiple of the calibrated noise of `SyntheticFeatures`.
        seed: Seed of everything random.
    """

    synthetic = True

    def __init__(
        self,
        release: ShortTermRelease,
        feature_dim: int,
        feature_fps: Fraction,
        noise: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.feature_dim = feature_dim
        self._feature_fps = feature_fps
        self._background = len(release.vocabulary.actions)
        self._segments = segments_by_video(release.splits)
        self._features = SyntheticFeatures(
            num_classes=self._background + 1,
            feature_dim=feature_dim,
            fps=float(feature_fps),
            stride=1,
            noise=noise,
            seed=seed,
        )

    def describe(self) -> dict[str, Any]:
        """Return the settings of the synthesis."""
        return self._features.describe()

    def fingerprint(self) -> str:
        """Return the settings as text."""
        return self._features.fingerprint()

    def rows(self, video: RecordedVideo) -> Iterator[Float32[np.ndarray, "rows feature"]]:
        """Yield all rows of a video in blocks."""
        num_rows = count_rows(video.num_frames, FPS, self._feature_fps)
        frames = frames_of_rows(num_rows, FPS, self._feature_fps)
        labels = frame_labels(self._segments[video.video_id], video.num_frames)[frames]
        shown = np.where(labels == UNKNOWN, self._background, labels).astype(np.int16)
        return self._features.rows(
            LabelledVideo(video.video_id, shown, video.participant, len(shown))
        )


def synthesized_segments(
    release: ShortTermRelease, arguments: argparse.Namespace
) -> SegmentFeatures:
    """Return the synthetic features of a release as the command line asks for them."""
    return SegmentFeatures(
        release, arguments.feature_dim, arguments.fps, arguments.noise, arguments.seed
    )
