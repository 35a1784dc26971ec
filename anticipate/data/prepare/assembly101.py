"""Assembly101 with coarse labels.

`actions.csv` (202 coarse actions), `train.csv` and `val.csv` (one row per sequence and view),
`coarse_labels/{assembly,disassembly}_<sequence>.txt` (start, end, action; TAB separated, ends
exclusive) and the TSM features, as the official LMDB per view (`features/<view>/`) or as arrays
(`features/<sequence>/<view>/features.npy`).

The timeline of a video starts at the first label. Label frame n is image n of the LMDBs, whose
images count from 1 (image 1 serves frame 0), and column n of the arrays, as the public loaders
slice them. Views end at different images: a video keeps all labels, and its frames beyond the end
of the view have no features.
"""

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from anticipate.console import notice
from anticipate.data.prepare.lines import check_unique, read_lines
from anticipate.data.prepare.options import add_release_options
from anticipate.data.prepare.release import FeatureSource, LabelledVideo, Release
from anticipate.data.prepare.synthesis import synthesized
from anticipate.data.prepare.timelines import Timeline, frame_number, read_timeline
from anticipate.data.prepare.views import View, find_views
from anticipate.errors import DataError

FPS = 30.0
PARTS = {"train": "train.csv", "test": "val.csv"}
"""The test labels are withheld, so the field tests on the validation list."""
PUBLISHED = {"classes": 202, "train videos": 4684, "test videos": 1424}

_ACTION_COLUMNS = ("action_id", "action_cls")
_VIDEO_COLUMNS = ("video_id", "view", "action_type", "video_end_frame")


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


add_arguments = add_release_options


def prepare(arguments: argparse.Namespace) -> tuple[Release, FeatureSource]:
    """Read the release and find its features.

    Raises:
        DataError: A file is missing, damaged or does not fit the others.
    """
    release, views = read_release(arguments.source, arguments.allow_missing)
    if arguments.synthesize_features:
        return release, synthesized(release, arguments)
    folder = arguments.features or arguments.source / "features"
    return find_views(
        release, views, folder, arguments.feature_dim, arguments.stride, arguments.allow_missing
    )


def read_release(source: Path, allow_missing: bool = False) -> tuple[Release, dict[str, View]]:
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
    release = Release(
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
    for line, fields in _read_csv(path, _ACTION_COLUMNS):
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
    for line, fields in _read_csv(path, _VIDEO_COLUMNS):
        end = frame_number(fields["video_end_frame"], path, line)
        where = f"{path}:{line}"
        rows.append(Row(where, fields["video_id"], fields["view"], fields["action_type"], end))
    check_unique([row.video_id for row in rows], path, first_line=2)
    return rows


def _read_csv(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and fields of each line below the header."""
    reader = csv.DictReader(read_lines(path, f"a table with columns {', '.join(columns)}"))
    absent = [name for name in columns if name not in (reader.fieldnames or ())]
    if absent:
        raise DataError(f"{path}:1: no column {', '.join(absent)}")
    for fields in reader:
        if any(fields[name] is None for name in columns):
            raise DataError(f"{path}:{reader.line_num}: too few columns")
        yield reader.line_num, fields


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


def _compare(release: Release, num_skipped: int) -> None:
    """Tell what was left out and where the counts differ from the published ones."""
    if num_skipped:
        notice(f"{release.source}: {num_skipped} videos without a label file are left out")
    found = {"classes": len(release.classes)}
    found |= {f"{part} videos": len(ids) for part, ids in release.splits["1"].items()}
    for what, count in found.items():
        if count != PUBLISHED[what]:
            notice(f"assembly101: {count} {what}, the published release has {PUBLISHED[what]}")
