"""EPIC-Kitchens-100 and EPIC-Kitchens-55 as RULSTM lays them out.

`actions.csv`, `training.csv`, `validation.csv`, test segments without classes, and for 100 the
validation rows of unseen participants and tail classes, for 55 the many-shot classes. The test
segments of 55 are in two files, of seen and of unseen kitchens; its ids are numbers, written here
without zeros in front, as the challenge wants them.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from anticipate.datasets.batches.short_term_module import ShortTermDataModule
from anticipate.datasets.file.segment_table import SegmentTable, joined
from anticipate.datasets.release.releases import (
    FeatureSource,
    ShortTermRelease,
    Vocabulary,
    labelled_videos,
)
from anticipate.datasets.release.rulstm_layout import (
    find_features,
    name_classes,
    read_segments,
)
from anticipate.datasets.release.text_files import (
    check_unique,
    compare_counts,
    read_lines,
    read_records,
    whole_number,
)
from anticipate.errors import DataError

SPLIT = "1"

__all__ = ["EpicKitchens55", "EpicKitchens100"]


class EpicKitchens(ShortTermDataModule):
    """What both versions of EPIC-Kitchens share: the layout of the release.

    Args:
        path: HDF5 file made by `anticipate prepare`.
        **settings: Settings that all short-term data sets share.
    """

    separator: ClassVar[str]
    """Text between verb and noun in the names of actions."""
    num_actions: ClassVar[int]
    num_verbs: ClassVar[int]
    num_nouns: ClassVar[int]
    num_segments: ClassVar[Mapping[str, int]]
    """Segments of each part of the published release."""
    reduced_copies: ClassVar[Mapping[str, Mapping[str, int]]] = {}
    """Segments of the parts of known copies that lack some, by what they are."""
    test_files: ClassVar[Mapping[str, str]]
    """File name of each test subset."""
    subset_files: ClassVar[Mapping[str, str]] = {}
    """File name of each subset of validation rows; without any there are many-shot classes."""
    numbered_ids: ClassVar[bool]
    """Whether segment ids are numbers."""

    @classmethod
    def read_release(cls, options: argparse.Namespace) -> tuple[ShortTermRelease, FeatureSource]:
        """Read the release and find its features.

        Raises:
            DataError: A file is missing, damaged or does not fit the others.
        """
        return find_features(cls.read_annotation(options.source), options)

    @classmethod
    def read_annotation(cls, source: Path) -> ShortTermRelease:
        """Read classes, segments and subsets of the release.

        Raises:
            DataError: A file is missing, damaged or does not fit the others.
        """
        path, numbered = source / "actions.csv", cls.numbered_ids
        vocabulary = read_vocabulary(path, cls.separator, cls.num_verbs, cls.num_nouns)
        tests = {
            name: read_segments(source / file, None, numbered)
            for name, file in cls.test_files.items()
        }
        parts = {
            "train": read_segments(source / "training.csv", vocabulary, numbered),
            "validation": read_segments(source / "validation.csv", vocabulary, numbered),
            "test": joined(list(tests.values())),
        }
        _check_disjoint(parts, source)
        subsets = {
            name: read_ids(source / file, parts["validation"])
            for name, file in cls.subset_files.items()
        }
        if len(tests) > 1:
            subsets |= {name: table.segment_ids for name, table in tests.items()}
        return ShortTermRelease(
            dataset=cls.dataset,
            vocabulary=vocabulary,
            videos=labelled_videos({SPLIT: parts}, participant),
            splits={SPLIT: parts},
            source=str(source.resolve()),
            subsets=subsets,
            class_subsets={} if cls.subset_files else read_many_shot(source, vocabulary),
            notes=cls._compare(vocabulary, parts),
        )

    @classmethod
    def _compare(cls, vocabulary: Vocabulary, parts: Mapping[str, SegmentTable]) -> dict[str, str]:
        found = {part: segments.num_rows for part, segments in parts.items()}
        copies = cls.reduced_copies.items()
        name = next((name for name, rows in copies if found.items() >= rows.items()), None)
        published = {"actions": cls.num_actions, **cls.num_segments}
        found["actions"] = len(vocabulary.actions)
        return compare_counts(cls.dataset, found, published, name)


class EpicKitchens100(EpicKitchens):
    """EPIC-Kitchens-100: 67,217 training and 9,668 validation segments of 3,806 actions.

    Scored are all segments, those of participants who are not in training, and tail classes. With
    the default times 30 validation segments start too early to be anticipated.

    Args:
        path: HDF5 file made by `anticipate prepare ek100`.
        **settings: Settings that all short-term data sets share.
    """

    dataset = "ek100"
    title = "EPIC-Kitchens-100"
    release = "EPIC-Kitchens-100 in the layout of RULSTM"
    measures = "ek100"
    separator = " "
    num_actions = 3806
    num_verbs = 97
    num_nouns = 300
    num_segments = {"train": 67217, "validation": 9668, "test": 13092}
    reduced_copies = {
        "the copy of video-mamba-suite, which lacks 34 videos shorter than 30 s": {
            "train": 67009,
            "validation": 9638,
        }
    }
    test_files = {"test": "test_timestamps.csv"}
    subset_files = {
        "unseen": "validation_unseen_participants_ids.csv",
        "tail_verb": "validation_tail_verbs_ids.csv",
        "tail_noun": "validation_tail_nouns_ids.csv",
        "tail_action": "validation_tail_actions_ids.csv",
    }
    numbered_ids = False
    challenge = {"version": "0.2", "documents": {"test.json": None}, "has_levels": True}

    def __init__(self, path: str = "data/ek100.h5", **settings: Any) -> None:
        super().__init__(path, **settings)


class EpicKitchens55(EpicKitchens):
    """EPIC-Kitchens-55: 23,493 training and 4,979 validation segments of 2,513 actions.

    The division of the public training set is that of RULSTM.

    Args:
        path: HDF5 file made by `anticipate prepare ek55`.
        **settings: Settings that all short-term data sets share.
    """

    dataset = "ek55"
    title = "EPIC-Kitchens-55"
    release = "EPIC-Kitchens-55 in the layout of RULSTM"
    measures = "ek55"
    separator = "_"
    num_actions = 2513
    num_verbs = 125
    num_nouns = 352
    num_segments = {"train": 23493, "validation": 4979, "test": 10976}
    test_files = {"test_seen": "test_seen.csv", "test_unseen": "test_unseen.csv"}
    numbered_ids = True
    challenge = {
        "version": "0.1",
        "documents": {"seen.json": "test_seen", "unseen.json": "test_unseen"},
        "has_levels": False,
    }

    def __init__(self, path: str = "data/ek55.h5", **settings: Any) -> None:
        super().__init__(path, **settings)


def read_vocabulary(path: Path, separator: str, num_verbs: int, num_nouns: int) -> Vocabulary:
    """Read the actions with their verbs and nouns; the order of the columns does not matter.

    Args:
        path: The file.
        separator: Text between verb and noun in the names of actions.
        num_verbs: Size of the verb label space.
        num_nouns: Size of the noun label space.

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
        if verb >= num_verbs or noun >= num_nouns:
            raise DataError(
                f"{where}: found verb {verb} and noun {noun}, expected them below "
                f"{num_verbs} and {num_nouns}"
            )
        names.append(record["action"])
        pairs.append((verb, noun))
    return name_classes(names, pairs, separator, num_verbs, num_nouns)


def read_ids(path: Path, segments: SegmentTable) -> tuple[str, ...]:
    """Read the ids of some segments.

    Raises:
        DataError: An id is none of the segments or occurs twice in the file.
    """
    lines = read_lines(path, "one segment id per line")
    check_unique(lines, path)
    known = set(segments.segment_ids)
    for number, line in enumerate(lines, start=1):
        if line not in known:
            raise DataError(f"{path}:{number}: '{line}' is not a segment of validation.csv")
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
