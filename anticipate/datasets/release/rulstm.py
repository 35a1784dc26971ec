"""The layout that RULSTM made common for EPIC-Kitchens and EGTEA Gaze+: CSV files and LMDBs.

Segments have no header and seven columns: id, video, start, end, verb, noun, action; frames are
counted from 1 at 30 per second. Lists of test segments stop after the fourth column. Some files pad
numbers with zeros and put spaces after commas.
"""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Int

from anticipate.console import notice
from anticipate.datasets.file.segment_table import UNKNOWN, SegmentTable
from anticipate.datasets.file.short_term_file import count_rows, frames_of_rows
from anticipate.datasets.release.databases import (
    NONE,
    REACH,
    FrameFeatures,
    Stream,
    present_frames,
    stand_ins,
)
from anticipate.datasets.release.options import FEATURE_DIMS
from anticipate.datasets.release.releases import (
    FPS,
    FeatureSource,
    RecordedVideo,
    ShortTermRelease,
    Vocabulary,
    segments_by_video,
)
from anticipate.datasets.release.synthesis import synthesized_segments
from anticipate.datasets.release.text_files import (
    check_unique,
    read_fields,
    read_records,
    whole_number,
)
from anticipate.errors import ConfigError, DataError
from anticipate.files import check_name

COLUMNS = ("id", "video", "start", "end", "verb", "noun", "action")
WITHHELD = COLUMNS[4:]
"""Columns that lists of test segments lack."""


def read_segments(
    path: Path, vocabulary: Vocabulary | None, numbered: bool = False
) -> SegmentTable:
    """Read a list of segments.

    Args:
        path: The file.
        vocabulary: Classes that the segments must be of; None for a list of test segments.
        numbered: Whether ids are numbers, which then lose the zeros in front.

    Raises:
        DataError: A column is missing, a field is no number, a segment is empty or twice in the
            file, or its classes are not in the vocabulary.
    """
    names = COLUMNS if vocabulary else COLUMNS[: -len(WITHHELD)]
    segment_ids, video_ids, numbers = [], [], []
    for line, fields in read_fields(path, names):
        where = f"{path}:{line}"
        if line == 1 and not any(field.isdigit() for field in fields[2:]):
            raise DataError(
                f"{where}: found a header ({', '.join(fields)}), expected segments from the first "
                f"line on: {', '.join(names)}, as RULSTM has them; remove that line"
            )
        start, stop, *classes = (whole_number(field, where) for field in fields[2:])
        if start < 1:
            raise DataError(f"{where}: a segment from frame {start} on; frames count from 1 on")
        if stop < start:
            raise DataError(f"{where}: a segment ends at frame {stop}, before its start {start}")
        if vocabulary:
            _check_classes(classes, vocabulary, where)
        segment_id = str(whole_number(fields[0], where)) if numbered else fields[0]
        segment_ids.append(check_name(segment_id, f"{where}: the id of a segment", DataError))
        video_ids.append(check_name(fields[1], f"{where}: the id of a video", DataError))
        numbers.append((start, stop, *(classes or [UNKNOWN] * len(WITHHELD))))
    check_unique(segment_ids, path)
    columns = np.array(numbers, np.int32).T
    return SegmentTable(tuple(segment_ids), tuple(video_ids), *columns)


def _check_classes(classes: Sequence[int], vocabulary: Vocabulary, where: str) -> None:
    verb, noun, action = classes
    if action >= len(vocabulary.pairs):
        raise DataError(
            f"{where}: action {action} is not in actions.csv, whose ids end at "
            f"{len(vocabulary.pairs) - 1}"
        )
    if vocabulary.pairs[action] != (verb, noun):
        expected = "verb {} and noun {}".format(*vocabulary.pairs[action])
        raise DataError(
            f"{where}: action {action} with verb {verb} and noun {noun}, but in actions.csv it has "
            f"{expected}"
        )


def name_classes(
    actions: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    separator: str,
    num_verbs: int,
    num_nouns: int,
) -> Vocabulary:
    """Return the vocabulary of a release.

    A verb or noun takes the name that most of its actions give it (EPIC-Kitchens-55 calls the verb
    `take` also `grab` and `pick-up`); one without any action is named after its number.

    Args:
        actions: Name of each action: verb, separator, noun.
        pairs: Verb and noun of each action.
        separator: Text between verb and noun.
        num_verbs: Size of the verb label space.
        num_nouns: Size of the noun label space.
    """
    words = [action.partition(separator)[::2] for action in actions]
    spaces = []
    for position, (kind, size) in enumerate((("verb", num_verbs), ("noun", num_nouns))):
        found = Counter(
            (pair[position], word[position]) for pair, word in zip(pairs, words, strict=True)
        )
        names = [f"{kind} {number}" for number in range(size)]
        for (number, name), _ in reversed(found.most_common()):
            names[number] = name
        spaces.append(tuple(names))
    verbs, nouns = spaces
    return Vocabulary(tuple(" ".join(word) for word in words), verbs, nouns, tuple(pairs))


def find_features(
    release: ShortTermRelease, arguments: argparse.Namespace
) -> tuple[ShortTermRelease, FeatureSource]:
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
        release: Annotation, with lengths of videos taken from the segments.
        streams: The databases.
        stored_fps: Rows per second.
        native_fps: Frames per second of each video that the databases count; None for 30.

    Returns:
        The release with lengths of videos taken from the databases, and the features.

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
    """Count the rows that another frame replaces, and those that are zeros; report them."""
    zeros = sum(int((found == NONE).sum()) for _, found in rows)
    missing = sum(int((found != wanted).sum()) for wanted, found in rows)
    if missing:
        total = sum(len(wanted) for wanted, _ in rows)
        notice(
            f"{missing:,} of {total:,} frames are missing: {missing - zeros:,} are replaced by the "
            f"nearest of the {REACH} frames before, {zeros:,} by zeros"
        )
    return {"num_missing_frames": missing, "num_zero_frames": zeros}
