"""What analyses share: run and output folder as options, JSON and CSV next to the pictures."""

import csv
import json
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anticipate.console import finite, notice
from anticipate.errors import DataError
from anticipate.training.provenance import add_foreign_option


def add_run_arguments(parser: ArgumentParser) -> None:
    """Declare the options that all analyses have."""
    parser.add_argument("--ckpt", type=Path, required=True, help="checkpoint of a run")
    parser.add_argument("--data", type=Path, required=True, help="data file")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    add_foreign_option(parser)


@contextmanager
def results_folder(folder: Path) -> Iterator[Path]:
    """Make a folder, and say at the end where the results are.

    Args:
        folder: Folder to write into; files of an earlier analysis are replaced.

    Raises:
        DataError: The folder or a file in it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error})") from error
    notice(f"figures, tables and numbers: {folder}")


def write_json(path: Path, document: Any) -> None:
    """Write a document; NaN becomes null, as JSON knows no NaN."""
    path.write_text(json.dumps(finite(document), indent=2) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table, the same bytes on every system."""
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
