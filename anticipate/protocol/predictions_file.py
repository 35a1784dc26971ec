"""What the predictions files of all tasks share: whole or absent, and opened with clear errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import h5py

from anticipate.datasets.file.data_file import FORMAT
from anticipate.datasets.file.partial_file import discard
from anticipate.errors import DataError

Writer = TypeVar("Writer", bound="PredictionsWriter")
Reader = TypeVar("Reader", bound="PredictionsReader")


class PredictionsWriter:
    """A new file that gets its final name when the `with` block ends without an error.

    Args:
        path: The file to make; one of that name is replaced.
        attributes: Root attributes, such as `dataset`, `split`, `synthetic`, `run`.
    """

    def __init__(self, path: str | Path, **attributes: Any) -> None:
        self.path = Path(path)
        self._attributes = attributes
        self._partial = self.path.with_name(f"{self.path.name}.partial")

    def __enter__(self: Writer) -> Writer:
        with self._writing():
            self._file = h5py.File(self._partial, "w")
            self._file.attrs.update(self._attributes)
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        try:
            if error_type is None:
                with self._writing():
                    self._file.close()
                    self._partial.replace(self.path)
        finally:
            discard(self._file, self._partial)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:  # HDF5 reports some failed writes as RuntimeError
            raise DataError(
                f"{self.path}: cannot be written ({one_line(error)}); "
                f"check that the folder exists and the disk has room"
            ) from error


class PredictionsReader:
    """Read-only view of a predictions file, from this package or other code.

    Args:
        path: The HDF5 file.

    Raises:
        DataError: The file is missing, damaged or one of data.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{path}: no such predictions file; `anticipate predict` writes one")
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise DataError(
                f"{path}: not an HDF5 file, or one that was cut off ({one_line(error)}); write it "
                "again"
            ) from error
        if self._file.attrs.get("format") == FORMAT:
            raise DataError(
                f"{path}: a prepared data file, which --data names and anticipate inspect shows; "
                "expected predictions, as anticipate predict writes them"
            )

    @property
    def attributes(self) -> dict[str, Any]:
        """Root attributes."""
        return dict(self._file.attrs)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self: Reader) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def one_line(error: Exception) -> str:
    """Return the message of an exception, which HDF5 spreads over several lines, as one."""
    return " ".join(str(error).split())
