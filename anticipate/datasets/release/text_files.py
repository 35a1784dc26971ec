"""Text files of a release, with errors that name file and line, and what they should hold."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from anticipate.console import notice
from anticipate.errors import DataError

LARGEST = 2**31 - 1
"""Numbers are stored in 32 bits."""
MOST_DIGITS = 10


def read_lines(path: Path, what: str) -> list[str]:
    """Return the lines of a text file that must have some.

    A byte order mark, blanks at the end of lines and empty lines at the end of the file say nothing
    and are left out.

    Args:
        path: The file.
        what: What the file holds, for the error messages.

    Raises:
        DataError: The file is missing, empty, no UTF-8 text, or has an empty line before its end.
    """
    try:
        # `splitlines` and `rstrip` alone would take other control characters for ends and blanks.
        lines = [line.rstrip(" \t") for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except OSError as error:
        raise DataError(f"{path}: cannot read {what}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected {what}, found no UTF-8 text ({error.reason})") from error
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(f"{path}: empty, expected {what}")
    if "" in lines:
        raise DataError(f"{path}:{lines.index('') + 1}: an empty line, expected {what}")
    return lines


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
    _, names = next(_rows([first], path))
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
        DataError: The file is missing, empty, no CSV or has another number of columns.
    """
    lines = read_lines(path, f"columns {', '.join(columns)}")
    for line, fields in _rows(lines, path):
        if len(fields) != len(columns):
            raise DataError(
                f"{path}:{line}: found {len(fields)} columns, expected {len(columns)}: "
                f"{', '.join(columns)}"
            )
        yield line, fields


def _rows(lines: Sequence[str], path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        for line, fields in enumerate(csv.reader(lines, skipinitialspace=True), start=1):
            yield line, [field.strip() for field in fields]
    except csv.Error as error:
        raise DataError(f"{path}: not comma-separated values ({error})") from error


def whole_number(text: str, where: str) -> int:
    """Read a number from 0 on that zeros may come before.

    Args:
        text: What was found.
        where: File and line, for the message.

    Raises:
        DataError: It is no such number, or larger than any frame or class can be.
    """
    if not (text.isascii() and text.isdigit()):
        raise DataError(f"{where}: expected an integer, found '{text}'")
    if len(text.lstrip("0")) > MOST_DIGITS or int(text) > LARGEST:
        raise DataError(f"{where}: found {text}, expected a number of at most {LARGEST:,}")
    return int(text)


def check_unique(names: Sequence[str], path: Path, first_line: int = 1) -> None:
    """Check that no name occurs twice in consecutive lines of a file.

    Raises:
        DataError: A name occurs twice.
    """
    seen: dict[str, int] = {}
    for line, name in enumerate(names, start=first_line):
        if name in seen:
            raise DataError(f"{path}:{line}: '{name}' is already on line {seen[name]}; remove one")
        seen[name] = line


def compare_counts(
    dataset: str,
    found: Mapping[str, int],
    published: Mapping[str, int],
    known_as: str | None = None,
) -> dict[str, str]:
    """Tell where the counts of a release differ, and return it as notes of the data file.

    Args:
        dataset: Name of the release.
        found: Counts by what was counted.
        published: What the published release has.
        known_as: Name of a copy that is known to have these counts.
    """
    differences = [
        f"{found[what]:,} {what} (published: {count:,})"
        for what, count in published.items()
        if found[what] != count
    ]
    if not differences:
        return {}
    text = ", ".join(differences) + (f"; this is {known_as}" if known_as else "")
    notice(f"{dataset}: {text}")
    return {"counts_differ": text}
