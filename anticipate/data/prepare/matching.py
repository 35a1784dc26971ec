"""Matching features with labels: missing files, orientation, length."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from anticipate.console import notice
from anticipate.data.prepare.arrays import ArrayFeatures, ArrayFile, ArraySlice, array_file
from anticipate.data.prepare.release import LabelledVideo, Release
from anticipate.errors import DataError

MAX_LENGTH_DIFFERENCE = 21
"""Frames by which labels and features may differ; the longer is cut.

One window of the I3D network: an extractor that drops incomplete windows loses no more.
"""


def match_features(
    release: Release, folder: Path, feature_dim: int, stride: int, allow_missing: bool
) -> tuple[Release, ArrayFeatures]:
    """Find `<video>.npy` of every video and cut the longer of labels and features.

    Returns:
        The release with labels and features of equal length, and the features.

    Raises:
        DataError: A file is missing, damaged, of another width or of quite another length.
    """
    paths = {video.video_id: folder / f"{video.video_id}.npy" for video in release.videos}
    missing = {name for name, path in paths.items() if allow_missing and not path.exists()}
    present = release.without(missing)
    files = {v.video_id: array_file(paths[v.video_id], feature_dim) for v in present.videos}
    videos = tuple(_cut(video, files[video.video_id]) for video in present.videos)
    cuts = [
        abs(len(video.labels) - files[video.video_id].num_frames)
        for video in present.videos
        if len(video.labels) != files[video.video_id].num_frames
    ]
    notes = tell_mended(folder, len(missing), files.values(), cuts)
    slices = {name: ArraySlice(file) for name, file in files.items()}
    return present.mended(videos, notes), ArrayFeatures(slices, feature_dim, stride)


def _cut(video: LabelledVideo, file: ArrayFile) -> LabelledVideo:
    """Return the video with the frames that have both a label and features."""
    num_frames = min(len(video.labels), file.num_frames)
    if max(len(video.labels), file.num_frames) - num_frames > MAX_LENGTH_DIFFERENCE:
        raise DataError(
            f"{file.path}: {file.num_frames} frames of features, but '{video.video_id}' has "
            f"{len(video.labels)} labels; a difference of at most {MAX_LENGTH_DIFFERENCE} is cut"
        )
    return video._replace(labels=video.labels[:num_frames], num_feature_frames=num_frames)


def tell_mended(
    folder: Path, num_missing: int, files: Iterable[ArrayFile], cuts: Sequence[int] = ()
) -> dict[str, int]:
    """Give notice of what was left out, turned and cut, and return it as notes of the data file.

    Args:
        folder: Folder of the features.
        num_missing: Videos without features.
        files: The feature files, if there are any.
        cuts: Frames cut from each video that was cut.
    """
    notes = {}
    num_turned = sum(file.turned for file in files)
    if num_missing:
        notes["videos_without_features"] = num_missing
        notice(f"{folder}: {num_missing} videos without features are left out")
    if num_turned:
        notes["feature_files_turned"] = num_turned
        notice(f"{folder}: {num_turned} files are frames x features, not features x frames; turned")
    if cuts:
        notes["videos_cut"] = len(cuts)
        notes["most_frames_cut"] = max(cuts)
        notice(f"{folder}: {len(cuts)} videos with up to {max(cuts)} frames more of one kind; cut")
    return notes
