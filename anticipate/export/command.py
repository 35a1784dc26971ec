"""The command line of `anticipate export`."""

from argparse import Namespace
from pathlib import Path

from anticipate.console import CommandParser, notice
from anticipate.data.short_term_store import ShortTermStore
from anticipate.errors import ConfigError, DataError
from anticipate.export.challenge import challenge_of, wanted_segments, write_challenge
from anticipate.export.challenge_format import LEVELS, NUM_LEVELS
from anticipate.export.challenge_rules import check_archive
from anticipate.predictions.short_term import ShortTermPredictionsReader


def main(argv: list[str]) -> None:
    """Run `anticipate export challenge` or `anticipate export check`.

    Args:
        argv: The words of the command line from `export` on.
    """
    options = _parser().parse_args(argv[1:])
    options.run(options)


def _export(options: Namespace) -> None:
    with (
        ShortTermPredictionsReader(options.predictions) as predictions,
        ShortTermStore(options.data) as store,
    ):
        levels = _levels(options, store)
        if store.synthetic:
            notice(f"{options.data}: synthetic features")
        count = write_challenge(predictions, store, options.output, levels, options.missing)
    notice(f"{options.output}: {count} segments")


def _levels(options: Namespace, store: ShortTermStore) -> dict[str, int]:
    """Return the supervision levels: all of them, or none where the challenge has none."""
    given = {name: getattr(options, name) for name in LEVELS if getattr(options, name) is not None}
    wanted = LEVELS if challenge_of(store).has_levels else {}
    if given.keys() != wanted.keys():
        names = ", ".join(f"--{name.replace('_', '-')}" for name in LEVELS)
        raise ConfigError(
            f"the {store.dataset} challenge wants {'each' if wanted else 'none'} of {names}"
        )
    return given


def _check(options: Namespace) -> None:
    segments = None
    if options.data is None:
        notice("without --data the segment ids are not checked")
    else:
        with ShortTermStore(options.data) as store:
            segments = wanted_segments(store)
    violations, num_segments = check_archive(options.archive, segments)
    for line in violations:
        notice(line)
    if violations:
        raise DataError(f"{options.archive}: breaks {len(violations)} rules of the challenge")
    notice(f"{options.archive}: ready, {num_segments} segments")


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="anticipate export", description="Write files for others, and check them."
    )
    commands = parser.add_subparsers(metavar="NAME", required=True)
    export = commands.add_parser("challenge", help="write the file of the EPIC-Kitchens challenge")
    export.set_defaults(run=_export)
    export.add_argument("predictions", metavar="PREDICTIONS.h5", help="scores of the test rows")
    export.add_argument("--data", required=True, metavar="FILE.h5", help="the prepared data file")
    export.add_argument(
        "--output", required=True, type=Path, metavar="FILE.zip", help="the file to write"
    )
    for name, meaning in LEVELS.items():
        export.add_argument(
            f"--{name.replace('_', '-')}",
            type=int,
            choices=range(NUM_LEVELS),
            metavar="N",
            help=f"{meaning}, 0 to {NUM_LEVELS - 1} (EK-100)",
        )
    export.add_argument(
        "--missing",
        choices=("error", "zero"),
        default="error",
        help="what becomes of test rows without predictions; zero: all their scores are 0 "
        "(default: error)",
    )
    check = commands.add_parser("check", help="apply the challenge's rules to such a file")
    check.set_defaults(run=_check)
    check.add_argument("archive", type=Path, metavar="FILE.zip", help="the file to check")
    check.add_argument("--data", metavar="FILE.h5", help="check that every test row is scored")
    return parser
