"""EGTEA Gaze+ as RULSTM lays it out.

`training<k>.csv` and `validation<k>.csv` of the three official splits, which share videos, and
`actions.csv` without a header: id, verb and noun, readable name (`Inspect/Read_recipe`). Which
verb and noun an action has is read from the segments, which name all three. Ids are numbers.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anticipate.console import notice
from anticipate.datasets.batches.short_term_module import ShortTermDataModule
from anticipate.datasets.file.segment_table import SegmentTable
from anticipate.datasets.release.releases import (
    FeatureSource,
    ShortTermRelease,
    Vocabulary,
    labelled_videos,
)
from anticipate.datasets.release.rulstm_layout import (
    COLUMNS,
    find_features,
    name_classes,
    read_segments,
)
from anticipate.datasets.release.text_files import (
    compare_counts,
    read_fields,
    whole_number,
)
from anticipate.errors import DataError

_FILES = {"train": "training{}.csv", "validation": "validation{}.csv"}
_ACTION_COLUMNS = ("id", "verb and noun", "name")

__all__ = ["EgteaGaze"]


class EgteaGaze(ShortTermDataModule):
    """EGTEA Gaze+: 10,321 segments of 106 actions, three official splits that share videos.

    Args:
        path: HDF5 file made by `anticipate prepare egtea`.
        anticipation_time: Seconds from the newest step of a clip to the start of its segment; 0.5
            is customary here.
        **settings: Settings that all short-term data sets share.
    """

    dataset = "egtea"
    title = "EGTEA Gaze+"
    release = "EGTEA Gaze+ in the layout of RULSTM"
    measures = "egtea"
    several_splits = True
    num_actions = 106
    num_verbs = 19
    num_nouns = 51
    num_segments = {"1": (8299, 2022), "2": (8299, 2022), "3": (8300, 2021)}
    """Training and validation segments of each split of the published release."""

    def __init__(
        self, path: str = "data/egtea.h5", anticipation_time: float = 0.5, **settings: Any
    ) -> None:
        super().__init__(path, anticipation_time=anticipation_time, **settings)

    @classmethod
    def add_release_options(cls, parser: argparse.ArgumentParser) -> None:
        """Declare where the release lies, its features and whether to take one split only."""
        super().add_release_options(parser)
        parser.add_argument(
            "--split",
            choices=list(cls.num_segments),
            help="take this split only: published features come from a network trained on the "
            "training segments of one split (default: all three)",
        )

    @classmethod
    def read_release(cls, options: argparse.Namespace) -> tuple[ShortTermRelease, FeatureSource]:
        """Read the release and find its features.

        Raises:
            DataError: A file is missing, damaged or does not fit the others.
        """
        splits = [options.split] if options.split else list(cls.num_segments)
        if options.features and len(splits) > 1:
            notice(
                f"{cls.dataset}: one set of features for all splits; where a network trained on "
                f"one split made them, it has seen test segments of the others: use --split"
            )
        return find_features(cls.read_annotation(options.source, splits), options)

    @classmethod
    def read_annotation(
        cls, source: Path, splits: Sequence[str] = ("1", "2", "3")
    ) -> ShortTermRelease:
        """Read classes and segments.

        Args:
            source: Folder of the release.
            splits: Numbers of the splits to read.

        Raises:
            DataError: A file is missing, damaged or does not fit the others.
        """
        files = {
            k: {part: source / name.format(k) for part, name in _FILES.items()} for k in splits
        }
        paths = [path for parts in files.values() for path in parts.values()]
        vocabulary = read_vocabulary(source / "actions.csv", paths)
        tables = {
            k: {
                part: read_segments(path, vocabulary, numbered=True) for part, path in parts.items()
            }
            for k, parts in files.items()
        }
        return ShortTermRelease(
            dataset=cls.dataset,
            vocabulary=vocabulary,
            videos=labelled_videos(tables, lambda video_id: video_id.partition("-")[0]),
            splits=tables,
            source=str(source.resolve()),
            notes=cls._compare(tables, vocabulary),
        )

    @classmethod
    def _compare(
        cls, splits: dict[str, dict[str, SegmentTable]], vocabulary: Vocabulary
    ) -> dict[str, str]:
        found = {"actions": len(vocabulary.actions)}
        published = {"actions": cls.num_actions}
        for k, parts in splits.items():
            for (part, segments), count in zip(parts.items(), cls.num_segments[k], strict=True):
                found[f"{part} of split {k}"] = segments.num_rows
                published[f"{part} of split {k}"] = count
        return compare_counts(cls.dataset, found, published)


def read_vocabulary(path: Path, segment_files: Sequence[Path]) -> Vocabulary:
    """Read the names of the actions, and their verbs and nouns from segments.

    Raises:
        DataError: A file is damaged, or the verb and noun of an action are unknown.
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
            if verb >= EgteaGaze.num_verbs or noun >= EgteaGaze.num_nouns:
                raise DataError(
                    f"{file}:{line}: found verb {verb} and noun {noun}, expected them below "
                    f"{EgteaGaze.num_verbs} and {EgteaGaze.num_nouns}"
                )
    for action, name in enumerate(names):
        if action not in found:
            raise DataError(
                f"{path}: action {action} ({name}) has no segment that names its verb and noun"
            )
    pairs = [found[action] for action in range(len(names))]
    return name_classes(names, pairs, "_", EgteaGaze.num_verbs, EgteaGaze.num_nouns)
