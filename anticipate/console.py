"""Output of commands: results on stdout, notices and progress on stderr, errors in one line."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from anticipate.errors import ConfigError

NAMED = 5
"""Offending videos, rows or files that a message names; it counts the others."""


class CommandParser(argparse.ArgumentParser):
    """An argument parser without abbreviations whose errors are one line and exit with code 2."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Report a usage mistake."""
        raise ConfigError(f"{message} (see: {self.prog} --help)")


def at_least_one(text: str) -> int:
    """Read a number of a command line that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of at least 1")
    return int(text)


def print_json(document: Any) -> None:
    """Write one JSON document to stdout; NaN becomes null, as JSON knows no NaN."""
    sys.stdout.write(json.dumps(finite(document), indent=2) + "\n")


def notice(text: str) -> None:
    """Write one line to stderr, where it cannot disturb a `--json` reader."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def name_some(names: Sequence[str]) -> str:
    """Write a list for a message: the first names, then how many more there are.

    >>> name_some([f"P01_{number}" for number in range(7)])
    'P01_0, P01_1, P01_2, P01_3, P01_4 and 2 more'
    """
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def finite(value: Any) -> Any:
    """Return a document for JSON with None for NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and value != value else value
