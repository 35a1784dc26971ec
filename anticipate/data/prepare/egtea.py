"""EGTEA Gaze+ as RULSTM lays it out.

`training<k>.csv` and `validation<k>.csv` of the three official splits, which share videos, and
`actions.csv` without a header: id, verb and noun, readable name (`Inspect/Read_recipe`). Which
verb and noun an action has is read from the segments, which name all three. Ids are numbers.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from anticipate.console import notice
from anticipate.data.prepare.counts import compare_counts
from anticipate.data.prepare.frame_matching import add_frame_options, find_features
from anticipate.data.prepare.rulstm_csv import (
    COLUMNS,
    read_fields,
    read_segments,
    whole_number,
)
from anticipate.data.prepare.short_term_release import (
    RowSource,
    ShortTermRelease,
    Vocabulary,
    labelled_videos,
)
from anticipate.data.prepare.vocabulary import name_classes
from anticipate.data.segment_table import SegmentTable
from anticipate.errors import DataError

DATASET = "egtea"
NUM_VERBS = 19
NUM_NOUNS = 51
PUBLISHED = {"1": (8299, 2022), "2": (8299, 2022), "3": (8300, 2021)}
"""Training and validation segments of each split."""
NUM_ACTIONS = 106

_FILES = {"train": "training{}.csv", "validation": "validation{}.csv"}
_ACTION_COLUMNS = ("id", "verb and noun", "name")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the release lies, its features and whether to take one split only."""
    add_frame_options(parser)
    parser.add_argument(
        "--split",
        choices=list(PUBLISHED),
        help="take this split only: published features come from a network trained on the training "
        "segments of one split (default: all three)",
    )


def prepare(arguments: argparse.Namespace) -> tuple[ShortTermRelease, RowSource]:
    """Read the release and find its features.

    Raises:
        DataError: A file is missing, damaged or does not fit the others.
    """
    splits = [arguments.split] if arguments.split else list(PUBLISHED)
    if arguments.features and len(splits) > 1:
        notice(
            f"{DATASET}: one set of features for all splits; where a network trained on one split "
            f"made them, it has seen test segments of the others: use --split"
        )
    return find_features(read_release(arguments.source, splits), arguments)


def read_release(source: Path, splits: Sequence[str] = tuple(PUBLISHED)) -> ShortTermRelease:
    """Read classes and segments.

    Args:
        source: Folder of the release.
        splits: Numbers of the splits to read.

    Raises:
        DataError: A file is missing, damaged or does not fit the others.
    """
    files = {k: {part: source / name.format(k) for part, name in _FILES.items()} for k in splits}
    paths = [path for parts in files.values() for path in parts.values()]
    vocabulary = read_vocabulary(source / "actions.csv", paths)
    tables = {
        k: {part: read_segments(path, vocabulary, numbered=True) for part, path in parts.items()}
        for k, parts in files.items()
    }
    return ShortTermRelease(
        dataset=DATASET,
        vocabulary=vocabulary,
        videos=labelled_videos(tables, lambda video_id: video_id.partition("-")[0]),
        splits=tables,
        source=str(source.resolve()),
        notes=_compare(tables, vocabulary),
    )


def read_vocabulary(path: Path, segment_files: Sequence[Path]) -> Vocabulary:
    """Read the names of the actions, and their verbs and nouns from segments.

    Raises:
        DataError: A file is damaged, or the verb and noun of an action cannot be told.
    """
    names: list[str] = []
    for line, (number, _, name) in read_fields(path, _ACTION_COLUMNS):
        if whole_number(number, f"{path}:{line}") != len(names):
            raise DataError(f"{path}:{line}: found id {number}, expected {len(names)}")
        names.append(name)
    found: dict[int, tuple[int, int]] = {}
    for file in segment_files:
        for line, fields in read_fields(file, COLUMNS):
            verb, noun, action = (whole_number(field, f"{file}:{line}") for field in fields[4:])
            found.setdefault(action, (verb, noun))
            if verb >= NUM_VERBS or noun >= NUM_NOUNS:
                raise DataError(
                    f"{file}:{line}: found verb {verb} and noun {noun}, expected them below "
                    f"{NUM_VERBS} and {NUM_NOUNS}"
                )
    for action, name in enumerate(names):
        if action not in found:
            raise DataError(
                f"{path}: action {action} ({name}) has no segment that would tell its verb and noun"
            )
    pairs = [found[action] for action in range(len(names))]
    return name_classes(names, pairs, "_", NUM_VERBS, NUM_NOUNS)


def _compare(splits: dict[str, dict[str, SegmentTable]], vocabulary: Vocabulary) -> dict[str, str]:
    found = {"actions": len(vocabulary.actions)}
    published = {"actions": NUM_ACTIONS}
    for k, parts in splits.items():
        for (part, segments), count in zip(parts.items(), PUBLISHED[k], strict=True):
            found[f"{part} of split {k}"] = segments.num_rows
            published[f"{part} of split {k}"] = count
    return compare_counts(DATASET, found, published)
