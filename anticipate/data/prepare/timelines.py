"""Segment files of Assembly101 -> one label per frame."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16

from anticipate.data.prepare.lines import read_lines
from anticipate.errors import DataError


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


def frame_number(text: str, path: Path, line: int) -> int:
    """Read a frame number.

    Raises:
        DataError: The text is no whole number from 0 on.
    """
    if not (text.isascii() and text.isdigit()):
        raise DataError(f"{path}:{line}: expected a frame number, found '{text}'")
    return int(text)


def _segment(text: str, vocabulary: Mapping[str, int], path: Path, line: int) -> _Segment:
    fields = text.split("\t")
    if len(fields) not in (3, 4):
        raise DataError(
            f"{path}:{line}: expected start, end, action with TABs between, not '{text}'"
        )
    start, stop = (frame_number(field, path, line) for field in fields[:2])
    if stop <= start:
        raise DataError(f"{path}:{line}: a segment from frame {start} to {stop} is empty")
    if fields[2] not in vocabulary:
        raise DataError(f"{path}:{line}: unknown action '{fields[2]}', not in actions.csv")
    return _Segment(start, stop, vocabulary[fields[2]])
