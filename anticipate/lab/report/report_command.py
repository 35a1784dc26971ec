"""`anticipate report`: tables, figures and verdicts from finished runs, as a page and files."""

from pathlib import Path

from anticipate.console import CommandParser, notice
from anticipate.errors import DataError
from anticipate.lab.report.report_page import write_report
from anticipate.lab.report.runs import collect


def main(argv: list[str]) -> None:
    """Write a report on every finished run below some folders.

    Args:
        argv: The command's name and its options.

    Raises:
        DataError: No such folder, nothing in it, or the report cannot be written.
    """
    parser = CommandParser(prog="anticipate report", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs, such as runs")
    parser.add_argument("--output", type=Path, required=True, help="folder of the report")
    options = parser.parse_args(argv[1:])
    collection = collect(options.runs)
    try:
        path = write_report(options.output, collection)
    except OSError as error:
        raise DataError(f"{options.output}: cannot be written ({error})") from error
    for folder, reason in collection.skipped:
        notice(f"left out: {folder}: {reason}")
    notice(f"report on {len(collection.runs)} runs: {path}")
