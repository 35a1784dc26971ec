"""EPIC-Kitchens-100 and EPIC-Kitchens-55 as RULSTM lays them out.

`actions.csv`, `training.csv`, `validation.csv`, test segments without classes, and for 100 the
validation rows of unseen participants and tail classes, for 55 the many-shot classes. The test
segments of 55 are in two files, of seen and of unseen kitchens; its ids are numbers, written here
without zeros in front, as the challenge wants them.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from anticipate.data.prepare.counts import compare_counts
from anticipate.data.prepare.frame_matching import add_frame_options, find_features
from anticipate.data.prepare.lines import check_unique, read_lines
from anticipate.data.prepare.rulstm_csv import read_records, read_segments, whole_number
from anticipate.data.prepare.short_term_release import (
    RowSource,
    ShortTermRelease,
    Vocabulary,
    labelled_videos,
)
from anticipate.data.prepare.vocabulary import name_classes
from anticipate.data.segment_table import SegmentTable, joined
from anticipate.errors import DataError

SPLIT = "1"


class Published(NamedTuple):
    """Facts of a published release."""

    separator: str
    """What stands between verb and noun in the names of actions."""
    num_verbs: int
    num_nouns: int
    counts: Mapping[str, int]
    test_files: Mapping[str, str]
    """File name of each test subset."""
    subset_files: Mapping[str, str]
    """File name of each subset of validation rows."""
    numbered: bool
    """Whether segment ids are numbers."""


PUBLISHED = {
    "ek100": Published(
        separator=" ",
        num_verbs=97,
        num_nouns=300,
        counts={"actions": 3806, "train": 67217, "validation": 9668, "test": 13092},
        test_files={"test": "test_timestamps.csv"},
        subset_files={
            "unseen": "validation_unseen_participants_ids.csv",
            "tail_verb": "validation_tail_verbs_ids.csv",
            "tail_noun": "validation_tail_nouns_ids.csv",
            "tail_action": "validation_tail_actions_ids.csv",
        },
        numbered=False,
    ),
    "ek55": Published(
        separator="_",
        num_verbs=125,
        num_nouns=352,
        counts={"actions": 2513, "train": 23493, "validation": 4979, "test": 10976},
        test_files={"test_seen": "test_seen.csv", "test_unseen": "test_unseen.csv"},
        subset_files={},
        numbered=True,
    ),
}

REDUCED_COPY = {"train": 67009, "validation": 9638}
"""Rows of the copy of EPIC-Kitchens-100 that comes with video-mamba-suite."""

add_arguments = add_frame_options


def prepare(arguments: argparse.Namespace) -> tuple[ShortTermRelease, RowSource]:
    """Read a release and find its features.

    Raises:
        DataError: A file is missing, damaged or does not fit the others.
    """
    return find_features(read_release(arguments.dataset, arguments.source), arguments)


def read_release(dataset: str, source: Path) -> ShortTermRelease:
    """Read classes, segments and subsets of a release.

    Raises:
        DataError: A file is missing, damaged or does not fit the others.
    """
    published = PUBLISHED[dataset]
    vocabulary = read_vocabulary(source / "actions.csv", published)
    tests = {
        name: read_segments(source / file, None, published.numbered)
        for name, file in published.test_files.items()
    }
    parts = {
        "train": read_segments(source / "training.csv", vocabulary, published.numbered),
        "validation": read_segments(source / "validation.csv", vocabulary, published.numbered),
        "test": joined(list(tests.values())),
    }
    _check_disjoint(parts, source)
    subsets = {
        name: read_ids(source / file, parts["validation"])
        for name, file in published.subset_files.items()
    }
    if len(tests) > 1:
        subsets |= {name: table.segment_ids for name, table in tests.items()}
    return ShortTermRelease(
        dataset=dataset,
        vocabulary=vocabulary,
        videos=labelled_videos({SPLIT: parts}, participant),
        splits={SPLIT: parts},
        source=str(source.resolve()),
        subsets=subsets,
        class_subsets={} if published.subset_files else read_many_shot(source, vocabulary),
        notes=_compare(dataset, vocabulary, parts),
    )


def read_vocabulary(path: Path, published: Published) -> Vocabulary:
    """Read the actions with their verbs and nouns; the order of the columns does not matter.

    Raises:
        DataError: A column is missing, the ids do not count from 0 on, or a verb or noun is outside
            its label space.
    """
    names: list[str] = []
    pairs: list[tuple[int, int]] = []
    for line, record in read_records(path, ("id", "verb", "noun", "action")):
        where = f"{path}:{line}"
        if whole_number(record["id"], where) != len(pairs):
            raise DataError(f"{where}: found id {record['id']}, expected {len(pairs)}")
        verb, noun = (whole_number(record[kind], where) for kind in ("verb", "noun"))
        if verb >= published.num_verbs or noun >= published.num_nouns:
            raise DataError(
                f"{where}: found verb {verb} and noun {noun}, expected them below "
                f"{published.num_verbs} and {published.num_nouns}"
            )
        names.append(record["action"])
        pairs.append((verb, noun))
    return name_classes(names, pairs, published.separator, published.num_verbs, published.num_nouns)


def read_ids(path: Path, segments: SegmentTable) -> tuple[str, ...]:
    """Read the ids of some segments.

    Raises:
        DataError: An id is none of the segments or stands twice in the file.
    """
    lines = read_lines(path, "one segment id per line")
    check_unique(lines, path)
    known = set(segments.segment_ids)
    for number, line in enumerate(lines, start=1):
        if line not in known:
            raise DataError(f"{path}:{number}: '{line}' is no segment of validation.csv")
    return tuple(lines)


def read_many_shot(source: Path, vocabulary: Vocabulary) -> dict[str, tuple[int, ...]]:
    """Read the many-shot verbs and nouns; an action is many-shot when its verb or noun is.

    Raises:
        DataError: A file is missing or damaged, or a class is outside its label space.
    """
    chosen = {}
    for kind, size in (("verb", len(vocabulary.verbs)), ("noun", len(vocabulary.nouns))):
        path = source / f"EPIC_many_shot_{kind}s.csv"
        classes = {}
        for line, record in read_records(path, (f"{kind}_class",)):
            classes[whole_number(record[f"{kind}_class"], f"{path}:{line}")] = line
        for number, line in classes.items():
            if number >= size:
                raise DataError(f"{path}:{line}: {kind} {number} is outside 0 to {size - 1}")
        chosen[kind] = set(classes)
    actions = (
        action
        for action, (verb, noun) in enumerate(vocabulary.pairs)
        if verb in chosen["verb"] or noun in chosen["noun"]
    )
    many_shot = {**chosen, "action": actions}
    return {f"many_shot_{kind}": tuple(sorted(classes)) for kind, classes in many_shot.items()}


def participant(video_id: str) -> str:
    """Return who recorded a video: P01 of P01_101.

    Args:
        video_id: Video of EPIC-Kitchens.
    """
    return video_id.partition("_")[0]


def _check_disjoint(parts: Mapping[str, SegmentTable], source: Path) -> None:
    part_of: dict[str, str] = {}
    for part, segments in parts.items():
        for name in segments.segment_ids:
            if part_of.setdefault(name, part) != part:
                raise DataError(f"{source}: segment '{name}' is in {part_of[name]} and in {part}")


def _compare(
    dataset: str, vocabulary: Vocabulary, parts: Mapping[str, SegmentTable]
) -> dict[str, str]:
    found = {part: segments.num_rows for part, segments in parts.items()}
    if dataset == "ek100" and found.items() >= REDUCED_COPY.items():
        name = "the copy of video-mamba-suite, which lacks 34 videos shorter than 30 s"
    else:
        name = None
    found["actions"] = len(vocabulary.actions)
    return compare_counts(dataset, found, PUBLISHED[dataset].counts, name)
