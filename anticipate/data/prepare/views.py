"""Features of Assembly101: one LMDB per view, or one array per sequence and view."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from anticipate.data.prepare.arrays import ArrayFeatures, ArrayFile, ArraySlice, array_file
from anticipate.data.prepare.images import ImageFeatures, ImageSequence, count_images
from anticipate.data.prepare.matching import tell_mended
from anticipate.data.prepare.release import FeatureSource, Release
from anticipate.errors import DataError


class View(NamedTuple):
    """A sequence as one camera saw it."""

    sequence: str
    name: str
    first_frame: int
    """Number of the first labelled frame."""


def find_views(
    release: Release,
    views: Mapping[str, View],
    folder: Path,
    feature_dim: int,
    stride: int,
    allow_missing: bool,
) -> tuple[Release, FeatureSource]:
    """Find the features of every video and how many of its frames they cover.

    Raises:
        DataError: Features are missing, damaged, of another width or end before the labels start.
    """
    source: FeatureSource
    files: list[ArrayFile] = []
    if any(folder.glob("*/data.mdb")):
        sequences = {
            name: ImageSequence(folder / view.name, view.sequence, view.first_frame)
            for name, view in views.items()
            if (folder / view.name / "data.mdb").exists()
        }
        available = {
            video.video_id: count_images(sequences[video.video_id], video.num_feature_frames)
            for video in release.videos
            if video.video_id in sequences
        }
        source = ImageFeatures(sequences, feature_dim, stride)
    else:
        slices = {
            name: ArraySlice(array_file(path, feature_dim), view.first_frame)
            for name, view in views.items()
            if (path := folder / view.sequence / view.name / "features.npy").exists()
        }
        available = {name: part.file.num_frames - part.first for name, part in slices.items()}
        files = [part.file for part in slices.values()]
        source = ArrayFeatures(slices, feature_dim, stride)
    return _covered(release, available, files, folder, allow_missing), source


def _covered(
    release: Release,
    available: Mapping[str, int],
    files: Iterable[ArrayFile],
    folder: Path,
    allow_missing: bool,
) -> Release:
    """Return the release with the frames that have features, without videos that have none."""
    missing = {v.video_id for v in release.videos if available.get(v.video_id, 0) < 1}
    if missing and not allow_missing:
        raise DataError(
            f"{folder}: no features of {len(missing)} videos, the first is '{min(missing)}'; "
            f"expected <view>/data.mdb or <sequence>/<view>/features.npy; or use --allow-missing"
        )
    present = release.without(missing)
    videos = tuple(
        video._replace(num_feature_frames=min(video.num_feature_frames, available[video.video_id]))
        for video in present.videos
    )
    return present.mended(videos, tell_mended(folder, len(missing), files))
