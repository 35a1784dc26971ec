"""The predictions file of short-term anticipation.

Data set `id`: text, the segment id of each row. Data set `action`: floats of shape (rows, actions),
the score of every action, of any scale. Root attributes, all optional: `dataset`, `split`,
`synthetic`, `run`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from jaxtyping import Float, Float64, Int64

from anticipate.console import name_some, notice
from anticipate.datasets.file.segment_table import SegmentTable
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.errors import DataError
from anticipate.protocol.predictions_file import PredictionsReader, PredictionsWriter, one_line

BLOCK = 1024
"""Rows in memory at a time."""

Missing = Literal["error", "drop", "zero"]
"""What becomes of a row without predictions: an error; it is left out; all its scores are 0."""


class ShortTermPredictionsWriter(PredictionsWriter):
    """Write a predictions file; it gets its final name when the `with` block ends without an error.

    Args:
        path: The file to make; one of that name is replaced.
        num_actions: Actions of the data set.
        attributes: Root attributes (`dataset`, `split`, `synthetic`, `run`).
    """

    def __init__(self, path: str | Path, num_actions: int, **attributes: Any) -> None:
        super().__init__(path, **attributes)
        self.num_actions = num_actions

    def __enter__(self) -> "ShortTermPredictionsWriter":
        super().__enter__()
        with self._writing():
            self._ids = self._file.create_dataset("id", (0,), h5py.string_dtype(), maxshape=(None,))
            size = self.num_actions
            self._scores = self._file.create_dataset(
                "action", (0, size), "f4", maxshape=(None, size), chunks=(64, size)
            )
        return self

    def add(self, segment_ids: Sequence[str], logits: Float[np.ndarray, "rows actions"]) -> None:
        """Append rows.

        Args:
            segment_ids: Ids of the rows in the data file.
            logits: Score of each action.

        Raises:
            DataError: The file cannot be written.
        """
        with self._writing():
            first = len(self._ids)
            for data, rows in ((self._ids, list(segment_ids)), (self._scores, logits)):
                data.resize(first + len(segment_ids), axis=0)
                data[first:] = rows
            self._file.flush()  # else a full disk shows only when the file is closed


class ShortTermPredictionsReader(PredictionsReader):
    """Read-only view of a predictions file, from this package or other code.

    Args:
        path: The HDF5 file.

    Raises:
        DataError: The file is missing, damaged, laid out in another way, or names a row twice.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._scores = self._array("action", 2, "f", "floats of shape (rows, actions)")
        ids = self._array("id", 1, "OS", "one text per row")
        if len(ids) != len(self._scores):
            raise self._unfit(f"'id' has {len(ids)} rows, 'action' {len(self._scores)}")
        self.segment_ids = self._text(ids)
        twice = [name for name, count in Counter(self.segment_ids).items() if count > 1]
        if twice:
            raise self._unfit(f"{len(twice)} ids occur more than once: {name_some(twice)}")

    @property
    def num_actions(self) -> int:
        """Number of actions."""
        return int(self._scores.shape[1])

    def blocks(self) -> Iterator[tuple[tuple[str, ...], Float64[np.ndarray, "rows actions"]]]:
        """Return all rows, some at a time: their segment ids and scores.

        Raises:
            DataError: A score is not finite, or the bytes cannot be read.
        """
        for first in range(0, len(self.segment_ids), BLOCK):
            ids = self.segment_ids[first : first + BLOCK]
            try:
                scores = self._scores[first : first + BLOCK].astype(np.float64)
            except OSError as error:
                raise self._unfit(f"'action' is damaged ({one_line(error)})") from error
            unfit = ~np.isfinite(scores).all(axis=1)
            if unfit.any():
                names = [ids[row] for row in np.flatnonzero(unfit)]
                raise self._unfit(f"NaN or infinite scores in the rows {name_some(names)}")
            yield ids, scores

    def aligned(
        self, segment_ids: Sequence[str], missing: Missing
    ) -> Iterator[tuple[Int64[np.ndarray, " rows"], Float64[np.ndarray, "rows actions"]]]:
        """Return the scores of wanted rows, some at a time, with their positions among these.

        Args:
            segment_ids: The wanted rows; others in the file are passed over.
            missing: What becomes of wanted rows that the file lacks.

        Raises:
            DataError: Rows are missing and must not, or cannot be read.
        """
        absent = self.missing(segment_ids)
        if absent and missing == "error":
            raise DataError(
                f"{self.path}: {len(absent)} of {len(segment_ids)} rows have no predictions: "
                f"{name_some(absent)}; add them (anticipate predict leaves out rows that start too "
                "early unless --data.short_past pad), or score without them: --missing drop or zero"
            )
        positions = {name: row for row, name in enumerate(segment_ids)}
        for ids, scores in self.blocks():
            rows = np.array([positions.get(name, -1) for name in ids])
            if (rows >= 0).any():
                yield rows[rows >= 0], scores[rows >= 0]
        if absent and missing == "zero":
            rows = np.array([positions[name] for name in absent])
            for first in range(0, len(rows), BLOCK):
                part = rows[first : first + BLOCK]
                yield part, np.zeros((len(part), self.num_actions))

    def missing(self, segment_ids: Sequence[str]) -> list[str]:
        """Return which of some rows the file lacks."""
        present = set(self.segment_ids)
        return [name for name in segment_ids if name not in present]

    def _array(self, name: str, num_axes: int, kinds: str, expected: str) -> h5py.Dataset:
        array = self._file.get(name)
        if not isinstance(array, h5py.Dataset):
            held = ", ".join(self._file) or "nothing"
            raise self._unfit(f"no data set '{name}' ({expected}), only {held}")
        if array.ndim != num_axes or array.dtype.kind not in kinds:
            raise self._unfit(
                f"'{name}' holds {array.dtype} of shape {array.shape}, expected {expected}"
            )
        return array

    def _text(self, ids: h5py.Dataset) -> tuple[str, ...]:
        try:
            return tuple(ids.asstr()[:])
        except (OSError, TypeError, UnicodeDecodeError) as error:
            raise self._unfit(f"'id' cannot be read as text ({one_line(error)})") from error

    def _unfit(self, problem: str) -> DataError:
        self.close()
        return DataError(f"{self.path}: {problem}; write it again")


def check_release(
    predictions: ShortTermPredictionsReader, store: ShortTermStore, rows: SegmentTable
) -> None:
    """Check that predictions and data file have the same actions and segments.

    Raises:
        DataError: They do not.
    """
    if predictions.num_actions != store.num_classes:
        raise DataError(
            f"{predictions.path}: 'action' has {predictions.num_actions} columns, expected one for "
            f"each of the {store.num_classes} actions of {store.path}"
        )
    others = set(predictions.segment_ids).difference(rows.segment_ids)
    known = {
        segment_id
        for k, parts in (store.num_rows.items() if others else ())
        for part in parts
        for segment_id in store.rows(k, part).segment_ids
    }
    unknown = sorted(others - known)
    if unknown:
        raise DataError(
            f"{predictions.path}: {len(unknown)} rows are not in {store.path}, so from another "
            f"release: {name_some(unknown)}"
        )
    if others:
        notice(f"{predictions.path}: {len(others)} rows outside the part that is used")
