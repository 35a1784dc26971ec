"""Reading the text files of a release, with errors that name file and line."""

from collections.abc import Sequence
from pathlib import Path

from anticipate.errors import DataError


def read_lines(path: Path, what: str) -> list[str]:
    """Return the lines of a text file that must have some.

    Args:
        path: The file.
        what: What the file holds, for the error messages.

    Raises:
        DataError: The file is missing, empty or no UTF-8 text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot read {what}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected {what}, found no UTF-8 text ({error.reason})") from error
    if not lines:
        raise DataError(f"{path}: empty, expected {what}")
    return lines


def check_unique(names: Sequence[str], path: Path, first_line: int = 1) -> None:
    """Check that no name occurs twice in consecutive lines of a file.

    Raises:
        DataError: A name occurs twice.
    """
    seen: dict[str, int] = {}
    for line, name in enumerate(names, start=first_line):
        if name in seen:
            raise DataError(
                f"{path}:{line}: '{name}' stands already on line {seen[name]}; drop one"
            )
        seen[name] = line
