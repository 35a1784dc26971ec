"""`anticipate explain`: what a trained network does, from its checkpoint.

Here are also what its analyses share: run and output folder as options, JSON and CSV next to the
pictures.
"""

import csv
import json
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from anticipate.console import CommandParser, finite, notice
from anticipate.errors import DataError
from anticipate.training.provenance import add_foreign_option

ANALYSES = {
    "experts": (
        "anticipate.lab.explain.explain_experts:main",
        "which experts a MixANT chooses for which video",
    ),
    "forward": (
        "anticipate.lab.explain.explain_forward:main",
        "which past actions AGA attends to when it expects an action",
    ),
    "backward": (
        "anticipate.lab.explain.explain_backward:main",
        "which other past would have made AGA expect another action",
    ),
    "gate": (
        "anticipate.lab.explain.explain_gate:main",
        "how AGA weighs its past against the current frame along a clip",
    ),
}
"""Name of each analysis, the function that runs it, and its line in the help."""


def main(argv: list[str]) -> None:
    """Run one analysis.

    Args:
        argv: The command's name, that of the analysis and its options.
    """
    parser = CommandParser(prog="anticipate explain", description=__doc__.partition("\n")[0])
    lines = "; ".join(f"{name}: {help_}" for name, (_, help_) in ANALYSES.items())
    parser.add_argument("analysis", choices=ANALYSES, help=lines)
    name = parser.parse_args(argv[1:2]).analysis
    module, _, function = ANALYSES[name][0].partition(":")
    getattr(import_module(module), function)(argv[1:])


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
