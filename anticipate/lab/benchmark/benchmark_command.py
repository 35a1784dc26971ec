"""The command line of the benchmarks."""

import argparse
from importlib import import_module
from pathlib import Path

from anticipate.console import CommandParser, notice, print_json
from anticipate.lab.benchmark.speed_table import Report, describe, document, tables

BENCHMARKS = {
    "scan": "the selective scan: time against other scans, growth with length",
    "block": "one denoising step: against its own matrix products, growth with samples and experts",
    "sample": "25 futures of one video: time by solver and number of steps",
    "train": "one training step: against the reference scan, growth with length",
    "aga": "AGA: against encoding its whole queue again at every step",
    "data": "one training item: bytes and time against loading a whole .npy file",
    "metrics": "the scores of one split: against a loop over frames",
}
"""Name of each benchmark, whose module is that and `_speed`, and its line in the help."""

STUDIES = {"solvers": "a trained model's scores by solver and number of denoising steps"}
"""Likewise what is measured on a checkpoint: scores instead of times."""

STEPS = (2, 3, 5, 8, 10, 15, 20, 25, 50)
SPACINGS = ("leading", "trailing")


def main(argv: list[str]) -> None:
    """Run `anticipate benchmark NAME`.

    Args:
        argv: The words of the command line from `benchmark` on.
    """
    options = _parser().parse_args(argv[1:])
    machine = describe()
    notice(f"benchmark {options.name} on {machine['cpu']}, {machine['threads']} threads")
    stem = options.name if options.name in STUDIES else f"{options.name}_speed"
    module = import_module(f"anticipate.lab.benchmark.{stem}")
    if options.name in STUDIES:
        module.run(options)
        return
    report: Report = module.run(options.quick, options.repeats)
    if options.json:
        print_json(document(options.name, report, machine, options.quick, options.repeats))
    else:
        _print_tables(report, machine)


def _print_tables(report: Report, machine: dict[str, str | int]) -> None:
    from rich.console import Console  # here: --json does without it

    console = Console()
    for table in tables(report):
        console.print(table)
    console.print(", ".join(f"{what} {value}" for what, value in machine.items()), highlight=False)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="anticipate benchmark", description="Measure speed and memory on this machine."
    )
    names = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    for name, help_ in {**BENCHMARKS, **STUDIES}.items():
        one = names.add_parser(name, help=help_, description=f"Measure {help_}.")
        one.add_argument("--json", action="store_true", help="write one JSON document to stdout")
        add_options = _add_study if name in STUDIES else _add_timing
        add_options(one)
    return parser


def _add_timing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument(
        "--repeats", type=_count, default=5, metavar="N", help="rounds of measuring (default: 5)"
    )


def _add_study(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ckpt", type=Path, required=True, metavar="FILE", help="checkpoint in its run folder"
    )
    parser.add_argument(
        "--data", type=Path, metavar="FILE.h5", help="data file (default: that of the run)"
    )
    parser.add_argument(
        "--videos",
        type=_count,
        metavar="N",
        help="test videos, evenly spread (default: as the run)",
    )
    parser.add_argument(
        "--steps",
        type=_count,
        nargs="+",
        default=STEPS,
        metavar="N",
        help=f"numbers of denoising steps (default: {' '.join(map(str, STEPS))})",
    )
    parser.add_argument(
        "--spacings",
        nargs="+",
        choices=SPACINGS,
        default=SPACINGS,
        metavar="NAME",
        help="which steps: leading, trailing (default: both)",
    )
    parser.add_argument(
        "--seeds", type=_several, default=3, metavar="N", help="seeds of the noise (default: 3)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for solvers.csv and solvers.png"
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of at least 1")
    return int(text)


def _several(text: str) -> int:
    if _count(text) < 2:
        raise argparse.ArgumentTypeError("1 seed shows no noise: expected 2 or more")
    return int(text)
