"""The CSV files that RULSTM made common for EPIC-Kitchens and EGTEA Gaze+.

Segments have no header and seven columns: id, video, start, end, verb, noun, action; frames are
counted from 1 at 30 per second. Lists of test segments stop after the fourth column. Some files pad
numbers with zeros and put spaces after commas.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from anticipate.data.prepare.lines import check_unique, read_lines
from anticipate.data.prepare.short_term_release import Vocabulary
from anticipate.data.segment_table import UNKNOWN, SegmentTable
from anticipate.errors import DataError

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
        start, stop, *classes = (whole_number(field, where) for field in fields[2:])
        if not 1 <= start <= stop:
            raise DataError(
                f"{where}: a segment from frame {start} to {stop}; frames count from 1 on"
            )
        if vocabulary:
            _check_classes(classes, vocabulary, where)
        segment_ids.append(str(whole_number(fields[0], where)) if numbered else fields[0])
        video_ids.append(fields[1])
        numbers.append((start, stop, *(classes or [UNKNOWN] * len(WITHHELD))))
    check_unique(segment_ids, path)
    columns = np.array(numbers, np.int32).T
    return SegmentTable(tuple(segment_ids), tuple(video_ids), *columns)


def read_records(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Read a file whose first line names its columns.

    Args:
        path: The file.
        columns: Columns that must be there, in whatever order.

    Returns:
        Line number and fields by column of each row.

    Raises:
        DataError: A column is missing or a row has another number of fields.
    """
    first = read_lines(path, f"a header with {', '.join(columns)}")[0]
    names = next(csv.reader([first], skipinitialspace=True))
    missing = [column for column in columns if column not in names]
    if missing:
        raise DataError(
            f"{path}:1: no column '{missing[0]}', found {', '.join(names)}; expected "
            f"{', '.join(columns)}"
        )
    rows = list(read_fields(path, names))[1:]
    return [(line, dict(zip(names, fields, strict=True))) for line, fields in rows]


def read_fields(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields of each row.

    Args:
        path: The file.
        columns: Names of the columns, in order.

    Raises:
        DataError: The file is missing, empty or has another number of columns.
    """
    lines = read_lines(path, f"columns {', '.join(columns)}")
    for line, fields in enumerate(csv.reader(lines, skipinitialspace=True), start=1):
        if len(fields) != len(columns):
            raise DataError(
                f"{path}:{line}: found {len(fields)} columns, expected {len(columns)}: "
                f"{', '.join(columns)}"
            )
        yield line, [field.strip() for field in fields]


def whole_number(text: str, where: str) -> int:
    """Read a number from 0 on that zeros may stand before.

    Args:
        text: What was found.
        where: File and line, for the message.

    Raises:
        DataError: It is no such number.
    """
    if not (text.isascii() and text.isdigit()):
        raise DataError(f"{where}: expected a whole number, found '{text}'")
    return int(text)


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
