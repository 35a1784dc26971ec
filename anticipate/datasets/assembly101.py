"""Assembly101 with coarse labels: people take toy vehicles apart and build them.

Sener et al., CVPR 2022. The release consists of `actions.csv` (202 coarse actions), `train.csv` and
`val.csv` (one row per sequence and view), `coarse_labels/{assembly,disassembly}_<sequence>.txt`
(start, end, action; TAB separated, ends exclusive) and the TSM features, as the official LMDB per
view (`features/<view>/`) or as arrays (`features/<sequence>/<view>/features.npy`).

The timeline of a video starts at the first label. Label frame n is image n of the LMDBs, whose
images count from 1 (image 1 serves frame 0), and column n of the arrays, as the public loaders
slice them. Views end at different images: a video keeps all labels, and its frames beyond the end
of the view have no features.
"""

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lmdb
import numpy as np
from jaxtyping import Float32, Int16

from anticipate.console import notice
from anticipate.datasets.batches.dense_module import DenseDataModule
from anticipate.datasets.release.arrays import (
    ArrayFeatures,
    ArrayFile,
    ArraySlice,
    Layout,
    array_files,
)
from anticipate.datasets.release.databases import database_state, decode_row, reading
from anticipate.datasets.release.mstcn import tell_mended
from anticipate.datasets.release.releases import (
    FARTHEST,
    DenseRelease,
    FeatureSource,
    LabelledVideo,
)
from anticipate.datasets.release.synthesis import synthesized
from anticipate.datasets.release.text_files import (
    check_unique,
    read_lines,
    read_records,
    whole_number,
)
from anticipate.errors import DataError
from anticipate.files import check_name

__all__ = ["Assembly101"]

FPS = 30.0
PARTS = {"train": "train.csv", "test": "val.csv"}
"""The test labels are withheld, so the field tests on the validation list."""
PUBLISHED_VIDEOS = {"train": 4684, "test": 1424}

_ACTION_COLUMNS = ("action_id", "action_cls")
_VIDEO_COLUMNS = ("video_id", "view", "action_type", "video_end_frame")


_ACTIVITY_AND_VIEW = re.compile(r"^(dis)?assembly_|_(C\d+_rgb|HMC_\d+_mono10bit)$")


class Assembly101(DenseDataModule):
    """Assembly101: 4,684 training and 1,424 test videos, 202 coarse classes, 30 frames per second.

    Split 1, the only one, tests on the official validation part, as the labels of the official test
    part are withheld. Each of the 12 or so views of a sequence is a video of its own. Videos last 7
    minutes on average and up to 30; some have no features at their end.

    Args:
        path: HDF5 file made by `anticipate prepare assembly101`.
        sample_rate: Frames per token; 6 is 5 tokens per second. A multiple of the file's stride.
        **settings: Settings that all dense data sets share.
    """

    dataset = "assembly101"
    title = "Assembly101"
    release = "Assembly101 with coarse labels"
    num_actions = 202

    def __init__(
        self, path: str = "data/assembly101.h5", sample_rate: int = 6, **settings: Any
    ) -> None:
        super().__init__(path, sample_rate, **settings)

    @staticmethod
    def group_of(video_id: str) -> str:
        """Return the recording, of which a video is one view of the assembly or disassembly.

        Args:
            video_id: Video of Assembly101: `(dis)assembly_RECORDING_VIEW`.
        """
        return _ACTIVITY_AND_VIEW.sub("", video_id)

    @classmethod
    def read_release(cls, options: argparse.Namespace) -> tuple[DenseRelease, FeatureSource]:
        """Read the release and find its features.

        Raises:
            DataError: A file is missing, damaged or does not fit the others.
        """
        release, views = read_annotation(options.source, options.allow_missing)
        if options.synthesize_features:
            return release, synthesized(release, options)
        folder = options.features or options.source / "features"
        return find_views(
            release,
            views,
            folder,
            options.feature_dim,
            options.stride,
            options.allow_missing,
            options.layout,
        )


_BLOCK_BYTES = 1 << 25
_FIRST_IMAGE = 1


class ImageSequence(NamedTuple):
    """The images of one video in the database of its view."""

    database: Path
    """Folder of the database, named after the view."""
    sequence: str
    first_frame: int
    """Number of the first labelled frame."""

    def key(self, frame: int) -> bytes:
        """Return the key of the image of a frame, counted from the first labelled one."""
        view = self.database.name
        image = max(_FIRST_IMAGE, self.first_frame + frame)
        return f"{self.sequence}/{view}/{view}_{image:010d}.jpg".encode()


def count_images(images: ImageSequence, num_frames: int) -> int:
    """Return how many of `num_frames` frames have features; they are a prefix."""
    with reading(images.database) as transaction:
        low, high = 0, num_frames
        while low < high:
            middle = (low + high) // 2
            if transaction.get(images.key(middle)) is None:
                high = middle
            else:
                low = middle + 1
    return low


class ImageFeatures:
    """Source of features in LMDBs.

    Args:
        sequences: Where the images of each video are.
        feature_dim: Width of the features.
        stride: Frames from one row to the next.
    """

    synthetic = False

    def __init__(
        self, sequences: Mapping[str, ImageSequence], feature_dim: int, stride: int
    ) -> None:
        self.feature_dim = feature_dim
        self._sequences = sequences
        self._stride = stride

    def describe(self) -> dict[str, Any]:
        """Return the kind of the files."""
        return {"features": "lmdb"}

    def fingerprint(self) -> str:
        """Return names, sizes and times of change of all databases."""
        databases = sorted({images.database for images in self._sequences.values()})
        states = [database_state(database) for database in databases]
        return repr((self.feature_dim, self._stride, states))

    def rows(self, video: LabelledVideo) -> Iterator[Float32[np.ndarray, "rows feature"]]:
        """Yield the features of frames 0, stride, 2 stride .. of a video in blocks.

        Raises:
            DataError: An image is missing, of another width or not finite.
        """
        images = self._sequences[video.video_id]
        frames = range(0, video.num_feature_frames, self._stride)
        block = max(1, _BLOCK_BYTES // (4 * self.feature_dim))
        for start in range(0, len(frames), block):
            # a database is closed after each block, so that the pages it has read are freed
            with reading(images.database) as transaction:
                keys = [images.key(frame) for frame in frames[start : start + block]]
                rows = [_row(transaction, images.database, key, self.feature_dim) for key in keys]
            yield np.stack(rows)


def _row(
    transaction: lmdb.Transaction, database: Path, key: bytes, feature_dim: int
) -> Float32[np.ndarray, " feature"]:
    where, value = f"{database}: '{key.decode()}'", transaction.get(key)
    if value is None:
        raise DataError(f"{where} is missing, though later images are there")
    return decode_row(value, feature_dim, where)


class Timeline(NamedTuple):
    """Labels of one sequence."""

    first_frame: int
    """Number of the frame at which the labels start."""
    labels: Int16[np.ndarray, " frames"]


class _Segment(NamedTuple):
    start: int
    stop: int
    label: int


def read_timeline(path: Path, vocabulary: Mapping[str, int]) -> Timeline:
    """Read a label file: start, end (exclusive), action; a fourth column is not used.

    Raises:
        DataError: A line is malformed, empty, not contiguous or names an unknown action.
    """
    segments: list[_Segment] = []
    for line, text in enumerate(read_lines(path, "start, end and action"), start=1):
        segment = _segment(text, vocabulary, path, line)
        if segments and segment.start != segments[-1].stop:
            raise DataError(
                f"{path}:{line}: starts at frame {segment.start}, but the segment before ends at "
                f"{segments[-1].stop}"
            )
        segments.append(segment)
    lengths = [segment.stop - segment.start for segment in segments]
    labels = np.repeat(np.array([segment.label for segment in segments], np.int16), lengths)
    return Timeline(segments[0].start, labels)


def _segment(text: str, vocabulary: Mapping[str, int], path: Path, line: int) -> _Segment:
    fields = text.split("\t")
    if len(fields) not in (3, 4):
        raise DataError(
            f"{path}:{line}: expected start, end, action with TABs between, not '{text}'"
        )
    start, stop = (whole_number(field, f"{path}:{line}") for field in fields[:2])
    if stop <= start:
        raise DataError(f"{path}:{line}: a segment from frame {start} to {stop} is empty")
    if stop - start > FARTHEST * FPS:
        raise DataError(
            f"{path}:{line}: a segment from frame {start} to {stop} lasts more than two hours"
        )
    if fields[2] not in vocabulary:
        raise DataError(f"{path}:{line}: unknown action '{fields[2]}', not in actions.csv")
    return _Segment(start, stop, vocabulary[fields[2]])


class View(NamedTuple):
    """A sequence as one camera saw it."""

    sequence: str
    name: str
    first_frame: int
    """Number of the first labelled frame."""


def find_views(
    release: DenseRelease,
    views: Mapping[str, View],
    folder: Path,
    feature_dim: int,
    stride: int,
    allow_missing: bool,
    layout: Layout | None = None,
) -> tuple[DenseRelease, FeatureSource]:
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
        paths = {
            name: folder / view.sequence / view.name / "features.npy"
            for name, view in views.items()
        }
        there = {name: path for name, path in paths.items() if path.exists()}
        slices = {
            name: ArraySlice(file, views[name].first_frame)
            for name, file in array_files(there, feature_dim, layout).items()
        }
        available = {name: part.file.num_frames - part.first for name, part in slices.items()}
        files = [part.file for part in slices.values()]
        source = ArrayFeatures(slices, feature_dim, stride)
    return _covered(release, available, files, folder, allow_missing), source


def _covered(
    release: DenseRelease,
    available: Mapping[str, int],
    files: Iterable[ArrayFile],
    folder: Path,
    allow_missing: bool,
) -> DenseRelease:
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


class Row(NamedTuple):
    """One line of a video list."""

    where: str
    sequence: str
    view: str
    action_type: str
    end_frame: int
    """Number of the last image of the view."""

    @property
    def video_id(self) -> str:
        """Name of the video in the data file."""
        return f"{self.action_type}_{self.sequence}_{self.view}"

    @property
    def label_file(self) -> str:
        """Name of the file with the labels."""
        return f"{self.action_type}_{self.sequence}.txt"


def read_annotation(
    source: Path, allow_missing: bool = False
) -> tuple[DenseRelease, dict[str, View]]:
    """Read the video lists and the labels.

    Returns:
        The release, and where the features of each video are.

    Raises:
        DataError: A file is missing, malformed, or a line repeats or contradicts another.
    """
    vocabulary = read_vocabulary(source / "actions.csv")
    parts = {part: read_rows(source / name) for part, name in PARTS.items()}
    rows = [row for part in parts.values() for row in part]
    timelines = _read_timelines(source / "coarse_labels", rows, vocabulary, allow_missing)
    both = {row.video_id for row in parts["train"]} & {row.video_id for row in parts["test"]}
    if both:
        raise DataError(f"{source}: '{min(both)}' is in train.csv and in val.csv")
    kept = [row for row in rows if row.label_file in timelines]
    videos = tuple(_video(row, timelines[row.label_file]) for row in kept)
    splits = {
        "1": {
            part: [row.video_id for row in rows if row.label_file in timelines]
            for part, rows in parts.items()
        }
    }
    num_skipped = len(rows) - len(kept)
    notes = {"videos_without_labels": num_skipped} if num_skipped else {}
    release = DenseRelease(
        "assembly101", FPS, tuple(vocabulary), videos, splits, f"{source.resolve()}", notes
    )
    _compare(release, num_skipped)
    views = {
        row.video_id: View(row.sequence, row.view, timelines[row.label_file].first_frame)
        for row in kept
    }
    return release, views


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read the coarse actions, ids in order from 0.

    Raises:
        DataError: A column is missing, an id out of order or a name repeated.
    """
    names = []
    for line, fields in read_records(path, _ACTION_COLUMNS):
        if fields["action_id"] != str(line - 2):
            raise DataError(f"{path}:{line}: found id '{fields['action_id']}', expected {line - 2}")
        names.append(fields["action_cls"])
    check_unique(names, path, first_line=2)
    return {name: label for label, name in enumerate(names)}


def read_rows(path: Path) -> list[Row]:
    """Read a list of videos.

    Raises:
        DataError: A column is missing, a number malformed or a video repeated.
    """
    rows = []
    for line, fields in read_records(path, _VIDEO_COLUMNS):
        end = whole_number(fields["video_end_frame"], f"{path}:{line}")
        where = f"{path}:{line}"
        names = (fields["video_id"], fields["view"], fields["action_type"])
        for name, column in zip(names, _VIDEO_COLUMNS, strict=False):
            check_name(name, f"{where}: {column}", DataError)
        rows.append(Row(where, *names, end))
    check_unique([row.video_id for row in rows], path, first_line=2)
    return rows


def _read_timelines(
    folder: Path, rows: Sequence[Row], vocabulary: Mapping[str, int], allow_missing: bool
) -> dict[str, Timeline]:
    """Read each label file once, however many views share it."""
    timelines = {}
    for row in rows:
        path = folder / row.label_file
        if row.label_file not in timelines and (path.exists() or not allow_missing):
            if not path.exists():
                raise DataError(
                    f"{row.where}: label file {path} is missing; or use --allow-missing"
                )
            timelines[row.label_file] = read_timeline(path, vocabulary)
    return timelines


def _video(row: Row, timeline: Timeline) -> LabelledVideo:
    num_frames = len(timeline.labels)
    covered = min(num_frames, row.end_frame + 1 - timeline.first_frame)
    if covered < 1:
        raise DataError(
            f"{row.where}: the view ends at frame {row.end_frame}, before the first label at frame "
            f"{timeline.first_frame} of {row.label_file}"
        )
    return LabelledVideo(row.video_id, timeline.labels, row.action_type, covered)


def _compare(release: DenseRelease, num_skipped: int) -> None:
    """Tell what was left out and where the counts differ from the published ones."""
    if num_skipped:
        notice(f"{release.source}: {num_skipped} videos without a label file are left out")
    counts = {"classes": (len(release.classes), Assembly101.num_actions)}
    for part, video_ids in release.splits["1"].items():
        counts[f"{part} videos"] = (len(video_ids), PUBLISHED_VIDEOS[part])
    for what, (found, published) in counts.items():
        if found != published:
            notice(f"assembly101: {found} {what}, the published release has {published}")
