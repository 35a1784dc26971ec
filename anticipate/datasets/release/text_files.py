"""Text files of a release, with errors that name file and line, and what they should hold."""

from collections.abc import Mapping, Sequence
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
        lines = [line.rstrip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
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
