"""The predictions file of short-term anticipation.

Data set `id`: text, the segment id of each row. Data set `action`: floats of shape (rows, actions),
the score of every action, of any scale. Optional `verb` and `noun`: the same of verbs and nouns, by
a model that has outputs of its own for them; one of the two alone says nothing. Root attributes,
all optional: `dataset`, `split`, `synthetic`, `run`.
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

OWN = ("verb", "noun")
"""Data sets that a file has where the model scores verbs and nouns by themselves."""

BLOCK = 1024
"""Rows in memory at a time."""

Missing = Literal["error", "drop", "zero"]
"""What becomes of a row without predictions: an error; it is left out; all its scores are 0."""


class ShortTermPredictionsWriter(PredictionsWriter):
    """Write a predictions file; it gets its final name when the `with` block ends without an error.

    Args:
        path: The file to make; one of that name is replaced.
        num_actions: Actions of the data set.
        own: Verbs and nouns of the data set, where the model scores them by themselves.
        attributes: Root attributes (`dataset`, `split`, `synthetic`, `run`).
    """

    def __init__(
        self, path: str | Path, num_actions: int, own: Sequence[int] = (), **attributes: Any
    ) -> None:
        super().__init__(path, **attributes)
        self.sizes = dict(zip(("action", *OWN), (num_actions, *own), strict=False))

    def __enter__(self) -> "ShortTermPredictionsWriter":
        super().__enter__()
        with self._writing():
            self._ids = self._file.create_dataset("id", (0,), h5py.string_dtype(), maxshape=(None,))
            self._scores = [
                self._file.create_dataset(
                    name, (0, size), "f4", maxshape=(None, size), chunks=(64, size)
                )
                for name, size in self.sizes.items()
            ]
        return self

    def add(self, segment_ids: Sequence[str], logits: Float[np.ndarray, "rows scores"]) -> None:
        """Append rows.

        Args:
            segment_ids: Ids of the rows in the data file.
            logits: Score of each action; then, where they have their own, of verbs and of nouns.

        Raises:
            DataError: The file cannot be written.
        """
        with self._writing():
            first = len(self._ids)
            parts = np.split(logits, np.cumsum([*self.sizes.values()])[:-1], axis=1)
            for data, rows in (
                (self._ids, list(segment_ids)),
                *zip(self._scores, parts, strict=True),
            ):
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
        self._own = self._own_scores()
        ids = self._array("id", 1, "OS", "one text per row")
        for name, scores in {"action": self._scores, **self._own}.items():
            if len(ids) != len(scores):
                raise self._unfit(f"'id' has {len(ids)} rows, '{name}' {len(scores)}")
        self.segment_ids = self._text(ids)
        twice = [name for name, count in Counter(self.segment_ids).items() if count > 1]
        if twice:
            raise self._unfit(f"{len(twice)} ids occur more than once: {name_some(twice)}")

    @property
    def num_actions(self) -> int:
        """Number of actions."""
        return int(self._scores.shape[1])

    @property
    def own_sizes(self) -> tuple[int, ...]:
        """Verbs and nouns that have own scores; empty where none have."""
        return tuple(scores.shape[1] for scores in self._own.values())

    def blocks(self) -> Iterator[tuple[tuple[str, ...], Float64[np.ndarray, "rows scores"]]]:
        """Return all rows, some at a time: their segment ids and scores, as `add` takes them.

        Raises:
            DataError: A score is not finite, or the bytes cannot be read.
        """
        for first in range(0, len(self.segment_ids), BLOCK):
            ids = self.segment_ids[first : first + BLOCK]
            try:
                scores = np.concatenate(
                    [data[first : first + BLOCK] for data in (self._scores, *self._own.values())],
                    axis=1,
                    dtype=np.float64,
                )
            except OSError as error:
                raise self._unfit(f"'action' is damaged ({one_line(error)})") from error
            unfit = ~np.isfinite(scores).all(axis=1)
            if unfit.any():
                names = [ids[row] for row in np.flatnonzero(unfit)]
                raise self._unfit(f"NaN or infinite scores in the rows {name_some(names)}")
            yield ids, scores

    def aligned(
        self, segment_ids: Sequence[str], missing: Missing
    ) -> Iterator[tuple[Int64[np.ndarray, " rows"], Float64[np.ndarray, "rows scores"]]]:
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
                yield part, np.zeros((len(part), self.num_actions + sum(self.own_sizes)))

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

    def _own_scores(self) -> dict[str, h5py.Dataset]:
        if not all(name in self._file for name in OWN):
            return {}
        expected = "floats of shape (rows, verbs or nouns)"
        return {name: self._array(name, 2, "f", expected) for name in OWN}

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
    own = (store.taxonomy.num_verbs, store.taxonomy.num_nouns)
    if predictions.own_sizes not in ((), own):
        raise DataError(
            f"{predictions.path}: 'verb' and 'noun' have {predictions.own_sizes} columns, expected "
            f"{own}: the verbs and nouns of {store.path}"
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
