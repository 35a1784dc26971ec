"""The layout that RULSTM made common for EPIC-Kitchens and EGTEA Gaze+: CSV files, features.

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

from anticipate.console import notice
from anticipate.datasets.file.segment_table import UNKNOWN, SegmentTable
from anticipate.datasets.file.short_term_file import count_rows, frames_of_rows
from anticipate.datasets.release.arrays import tick_arrays
from anticipate.datasets.release.databases import (
    NONE,
    REACH,
    FeatureStore,
    FrameDatabase,
    FrameFeatures,
    stand_ins,
)
from anticipate.datasets.release.options import FEATURE_DIMS, stream_widths
from anticipate.datasets.release.releases import (
    FPS,
    FeatureSource,
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
        ConfigError: The features are not where they should be, or their rate is not stated.
        DataError: Features are missing or damaged, or end before the segments do.
    """
    if arguments.synthesize_features:
        return release, synthesized_segments(release, arguments)
    return match_frames(release, find_streams(arguments), arguments.fps)


def find_streams(arguments: argparse.Namespace) -> dict[str, list[FeatureStore]]:
    """Return the stores of each stream that the command line names.

    Raises:
        ConfigError: The features are not where they should be, or their rate is not stated.
    """
    names, folders = list(stream_widths(arguments.stream)), arguments.features
    if len(names) == 1:
        places = {names[0]: [_place(folder, names[0]) for folder in folders]}
    elif len(folders) == 1:
        places = {name: [_place(folders[0] / name, name)] for name in names}
    elif len(folders) == len(names):
        places = {n: [_place(folder, n)] for n, folder in zip(names, folders, strict=True)}
    else:
        raise ConfigError(
            f"--features names {len(folders)} folders and --stream {len(names)} streams: expected "
            "one folder with one per stream, or a folder for each"
        )
    native_fps = read_native_fps(arguments.native_fps) if arguments.native_fps else None
    return {
        name: [_store(place, name, arguments, native_fps) for place in found]
        for name, found in places.items()
    }


def match_frames(
    release: ShortTermRelease,
    streams: Mapping[str, Sequence[FeatureStore]],
    stored_fps: Fraction,
) -> tuple[ShortTermRelease, FrameFeatures]:
    """Find which rows of the stores become the stored rows of each video.

    Args:
        release: Annotation, with lengths of videos taken from the segments.
        streams: The stores of each stream by its name.
        stored_fps: Rows per second.

    Returns:
        The release with lengths of videos taken from the stores, and the features.

    Raises:
        DataError: A video has no features, or a segment starts more than a second after its last.
    """
    stores = [store for stream in streams.values() for store in stream]
    segments = segments_by_video(release.splits)
    videos, chosen = [], {}
    missing = Counter[str]()
    for video in release.videos:
        name = video.video_id
        present = [store.present(name) for store in stores]
        num_frames = min(
            store.last_frame(name, int(numbers[-1]))
            for store, numbers in zip(stores, present, strict=True)
        )
        _check_starts(segments[name], num_frames, stores)
        frames = frames_of_rows(count_rows(num_frames, FPS, stored_fps), FPS, stored_fps)
        wanted = [store.numbers(name, frames) for store in stores]
        chosen[name] = [stand_ins(*pair) for pair in zip(wanted, present, strict=True)]
        for numbers, found in zip(wanted, chosen[name], strict=True):
            missing.update(
                frames=len(numbers),
                missing=int((found != numbers).sum()),
                zeros=int((found == NONE).sum()),
            )
        videos.append(video._replace(num_frames=num_frames))
    notes = _report_missing(missing)
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


def _place(folder: Path, name: str) -> Path:
    """Return where the features of a stream are: a folder itself, or the one in it of that name."""
    for place in (folder, folder / name):
        if (place / "data.mdb").exists() or next(place.glob("*.npy"), None):
            return place
    raise ConfigError(
        f"--features {folder}: neither it nor its folder '{name}' is an LMDB or has .npy files"
    )


def _store(
    place: Path,
    name: str,
    arguments: argparse.Namespace,
    native_fps: Mapping[str, Fraction] | None,
) -> FeatureStore:
    width = stream_widths(arguments.stream)[name] or arguments.feature_dim
    if not (place / "data.mdb").exists():
        if arguments.array_fps is None:
            raise ConfigError(
                f"--features {place}: .npy files do not tell their rate: add --array-fps with "
                "their rows per second, such as 4 for those of TeSTra"
            )
        arrays = tick_arrays(place, arguments.array_fps)
        if width not in (None, arrays.feature_dim):
            raise ConfigError(
                f"--features {place}: arrays of width {arrays.feature_dim}, expected {width} for "
                f"stream '{name}'"
            )
        return arrays
    kinds = [kind for kind in (place.name, name) if kind in FEATURE_DIMS]
    if width is None and not kinds:
        raise ConfigError(f"the width of stream '{name}' is not known: write --stream {name}=WIDTH")
    return FrameDatabase(place, width or FEATURE_DIMS[kinds[0]], native_fps)


def _check_starts(segments: SegmentTable, num_frames: int, stores: Sequence[FeatureStore]) -> None:
    last = int(np.argmax(segments.starts))
    if segments.starts[last] > num_frames + FPS:
        raise DataError(
            f"segment '{segments.segment_ids[last]}' starts at frame {segments.starts[last]}, but "
            f"the features of video '{segments.video_ids[last]}' end at frame {num_frames} "
            f"({', '.join(map(str, stores))}); frames are counted at {FPS} per second, or use "
            "--native-fps"
        )


def _report_missing(counts: Mapping[str, int]) -> dict[str, int]:
    """Return how many rows another frame replaces, and how many are zeros; report them."""
    missing, zeros = counts["missing"], counts["zeros"]
    if missing:
        notice(
            f"{missing:,} of {counts['frames']:,} frames are missing: {missing - zeros:,} are "
            f"replaced by the nearest of the {REACH} frames before, {zeros:,} by zeros"
        )
    return {"num_missing_frames": missing, "num_zero_frames": zeros}
