"""`anticipate score gap`: by how much one evaluation differs from another."""

import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from anticipate.console import CommandParser, print_json
from anticipate.errors import ConfigError, DataError
from anticipate.protocol.measures import named_scores

SUBSETS = ("seen", "unseen")
"""What a single result compares: participants of the training part with new ones."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the options of `anticipate score gap`."""
    parser.add_argument(
        "results",
        nargs="+",
        metavar="RESULT.json",
        help="two documents of `anticipate score short-term --json` or of the same keys, such as "
        "validation and test figures; of one alone, seen and unseen participants are compared",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: Namespace) -> None:
    """Print the difference of each score, second minus first."""
    if len(options.results) > 2:
        raise ConfigError(f"{len(options.results)} results given, expected one or two to compare")
    names, documents = _sides([Path(path) for path in options.results])
    gaps = score_gaps(*documents)
    if not gaps:
        raise DataError(f"{' and '.join(options.results)}: no score in common")
    if options.json:
        print_json(gaps)
    else:
        Console().print(_table(names, documents, gaps))


def score_gaps(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, float]:
    """Return after minus before for each score that both documents have, by its path.

    >>> score_gaps({"overall": {"action": 18.75}}, {"overall": {"action": 17.0, "verb": 30.0}})
    {'overall/action': -1.75}
    """
    first, second = named_scores(before), named_scores(after)
    return {name: second[name] - value for name, value in first.items() if name in second}


def _sides(paths: list[Path]) -> tuple[list[str], list[Mapping[str, Any]]]:
    documents = [_read(path) for path in paths]
    if len(paths) == 2:
        return [str(path) for path in paths], documents
    absent = [subset for subset in SUBSETS if not isinstance(documents[0].get(subset), Mapping)]
    if absent:
        raise DataError(
            f"{paths[0]}: no scores of {' and '.join(absent)} participants; "
            f"give a second result to compare with"
        )
    return list(SUBSETS), [documents[0][subset] for subset in SUBSETS]


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(), parse_int=float)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{path}: no JSON document ({error})") from error
    if not isinstance(document, dict):
        raise DataError(f"{path}: no JSON object of scores, as `anticipate score --json` prints it")
    return {key: value for key, value in document.items() if not key.startswith("num_")}


def _table(names: list[str], documents: list[Mapping[str, Any]], gaps: dict[str, float]) -> Table:
    table = Table(title="second minus first", box=box.SIMPLE_HEAD)
    table.add_column("score")
    for name in (*names, "gap"):
        table.add_column(name, justify="right")
    first, second = map(named_scores, documents)
    for name, gap in gaps.items():
        table.add_row(name, f"{first[name]:.1f}", f"{second[name]:.1f}", f"{gap:+.1f}")
    return table
