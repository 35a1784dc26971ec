"""Options and features of the short-term releases: LMDBs matched with videos, or synthesis."""

import argparse
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Int

from anticipate.console import notice
from anticipate.data.frame_rate import count_rows, frames_of_rows
from anticipate.data.prepare.frame_lmdb import (
    NONE,
    REACH,
    FrameFeatures,
    Stream,
    present_frames,
    stand_ins,
)
from anticipate.data.prepare.options import add_fps, folder
from anticipate.data.prepare.rulstm_csv import read_records
from anticipate.data.prepare.segment_synthesis import synthesized_segments
from anticipate.data.prepare.short_term_release import (
    FPS,
    RecordedVideo,
    RowSource,
    ShortTermRelease,
    segments_by_video,
)
from anticipate.data.segment_table import SegmentTable
from anticipate.errors import ConfigError, DataError

FEATURE_DIMS = {"rgb": 1024, "flow": 1024, "obj": 352}
"""Streams of RULSTM and the width of their features."""


def add_frame_options(parser: argparse.ArgumentParser) -> None:
    """Declare where a release lies and where its features come from."""
    add = parser.add_argument
    add("--source", type=folder, required=True, metavar="DIR", help="folder with the CSV files")
    features = parser.add_mutually_exclusive_group(required=True)
    features.add_argument(
        "--features",
        type=folder,
        action="append",
        metavar="LMDB_DIR",
        help="LMDB, or folder with one per stream, of --feature-dim (default: 1024, obj 352); "
        "given several times, the features of a frame stand side by side in that order",
    )
    features.add_argument(
        "--synthesize-features",
        action="store_true",
        help="make features from the labels instead of reading them; the file is marked synthetic",
    )
    add(
        "--stream",
        choices=list(FEATURE_DIMS),
        default="rgb",
        help="which LMDB of a folder with one per stream (default: rgb)",
    )
    add(
        "--native-fps",
        type=Path,
        metavar="CSV",
        help="EPIC_100_video_info.csv, for LMDBs that count frames at the native rate of a video",
    )
    add_fps(parser)


def find_features(
    release: ShortTermRelease, arguments: argparse.Namespace
) -> tuple[ShortTermRelease, RowSource]:
    """Return a release and its features as the command line asks for them.

    Raises:
        DataError: A database is missing or damaged, or ends before the segments do.
    """
    if arguments.synthesize_features:
        arguments.feature_dim = arguments.feature_dim or FEATURE_DIMS[arguments.stream]
        return release, synthesized_segments(release, arguments)
    streams = [
        _stream(path, arguments.stream, arguments.feature_dim) for path in arguments.features
    ]
    native_fps = read_native_fps(arguments.native_fps) if arguments.native_fps else None
    return match_frames(release, streams, arguments.fps, native_fps)


def match_frames(
    release: ShortTermRelease,
    streams: Sequence[Stream],
    stored_fps: Fraction,
    native_fps: Mapping[str, Fraction] | None = None,
) -> tuple[ShortTermRelease, FrameFeatures]:
    """Find which frames of the databases become the stored rows of each video.

    Args:
        release: Annotation, with lengths of videos as the segments tell them.
        streams: The databases.
        stored_fps: Rows per second.
        native_fps: Frames per second of each video that the databases count; None for 30.

    Returns:
        The release with lengths of videos as the databases tell them, and the features.

    Raises:
        DataError: A video has no frames, or a segment starts more than a second after its last.
    """
    segments = segments_by_video(release.splits)
    videos, frames = [], {}
    for video in release.videos:
        rate = _rate(video.video_id, native_fps)
        present = [present_frames(stream.database, video.video_id) for stream in streams]
        num_frames = min(
            _length(numbers, stream, video, rate)
            for numbers, stream in zip(present, streams, strict=True)
        )
        _check_starts(segments[video.video_id], num_frames, streams)
        images = _images(count_rows(num_frames, FPS, stored_fps), stored_fps, rate)
        frames[video.video_id] = [(images, stand_ins(images, numbers)) for numbers in present]
        videos.append(video._replace(num_frames=num_frames))
    notes = _count_missing([pair for pairs in frames.values() for pair in pairs])
    chosen = {name: [stand_in for _, stand_in in pairs] for name, pairs in frames.items()}
    return release._replace(videos=tuple(videos)), FrameFeatures(streams, chosen, notes)


def read_native_fps(path: Path) -> dict[str, Fraction]:
    """Read the native frame rate of each video from a file like `EPIC_100_video_info.csv`.

    Raises:
        DataError: A column is missing or a rate is no positive number.
    """
    rates = {}
    for line, record in read_records(path, ("video_id", "fps")):
        try:
            rates[record["video_id"]] = Fraction(record["fps"])
        except (ValueError, ZeroDivisionError):
            rates[record["video_id"]] = Fraction(0)
        if rates[record["video_id"]] <= 0:
            raise DataError(f"{path}:{line}: expected frames per second, found '{record['fps']}'")
    return rates


def _stream(path: Path, name: str, feature_dim: int | None) -> Stream:
    database = path if (path / "data.mdb").exists() else path / name
    if not (database / "data.mdb").exists():
        raise ConfigError(f"--features {path}: neither it nor its folder '{name}' is an LMDB")
    kind = database.name if database.name in FEATURE_DIMS else name
    return Stream(database, feature_dim or FEATURE_DIMS[kind])


def _rate(video_id: str, native_fps: Mapping[str, Fraction] | None) -> Fraction:
    if native_fps is None:
        return Fraction(FPS)
    if video_id not in native_fps:
        raise DataError(f"--native-fps: no frame rate for video '{video_id}'")
    return native_fps[video_id]


def _length(
    present: Int[np.ndarray, " frames"], stream: Stream, video: RecordedVideo, rate: Fraction
) -> int:
    """Return the last annotated frame n whose image floor(n rate / 30) is there."""
    if not len(present):
        raise DataError(
            f"{stream.database}: no frames of video '{video.video_id}', expected keys such as "
            f"'{video.video_id}_frame_0000000001.jpg'"
        )
    ratio = (int(present[-1]) + 1) * FPS / rate
    return -(-ratio.numerator // ratio.denominator) - 1


def _check_starts(segments: SegmentTable, num_frames: int, streams: Sequence[Stream]) -> None:
    last = int(np.argmax(segments.starts))
    if segments.starts[last] > num_frames + FPS:
        raise DataError(
            f"segment '{segments.segment_ids[last]}' starts at frame {segments.starts[last]}, but "
            f"the features of video '{segments.video_ids[last]}' end at frame {num_frames} "
            f"({', '.join(str(stream.database) for stream in streams)}); frames are counted at "
            f"{FPS} per second, or use --native-fps"
        )


def _images(num_rows: int, stored_fps: Fraction, rate: Fraction) -> Int[np.ndarray, " rows"]:
    """Return the image of each stored row, as the database counts them."""
    ratio = rate / FPS
    frames = frames_of_rows(num_rows, FPS, stored_fps)
    return (frames * ratio.numerator // ratio.denominator).clip(1)


def _count_missing(
    rows: Sequence[tuple[Int[np.ndarray, "..."], Int[np.ndarray, "..."]]],
) -> dict[str, int]:
    """Tell how many rows another frame stands in for, and how many are zeros."""
    zeros = sum(int((found == NONE).sum()) for _, found in rows)
    missing = sum(int((found != wanted).sum()) for wanted, found in rows)
    if missing:
        total = sum(len(wanted) for wanted, _ in rows)
        notice(
            f"{missing:,} of {total:,} frames are missing: the nearest of the {REACH} frames "
            f"before stands in, {zeros:,} have none and are zeros"
        )
    return {"num_missing_frames": missing, "num_zero_frames": zeros}
