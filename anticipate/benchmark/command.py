"""The command line of the benchmarks."""

import argparse
from importlib import import_module

from anticipate.benchmark.machine import describe
from anticipate.benchmark.report import Report, document, tables
from anticipate.console import CommandParser, notice, print_json

BENCHMARKS = {
    "scan": "the selective scan: time against other scans, growth with length",
    "block": "one denoising step: against its own matrix products, growth with samples and experts",
    "sample": "25 futures of one video: time by solver and number of steps",
    "train": "one training step: against the reference scan, growth with length",
    "aga": "AGA: against encoding its whole queue anew at every step",
    "data": "one training item: bytes and time against loading a whole .npy file",
    "metrics": "the scores of one split: against a loop over frames",
}
"""Name of each benchmark, which is its module in this package, and its line in the help."""


def main(argv: list[str]) -> None:
    """Run `anticipate benchmark NAME`.

    Args:
        argv: The words of the command line from `benchmark` on.
    """
    options = _parser().parse_args(argv[1:])
    machine = describe()
    notice(f"benchmark {options.name} on {machine['cpu']}, {machine['threads']} threads")
    module = import_module(f"anticipate.benchmark.{options.name}")
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
    lines = "\n".join(f"  {name:<9} {help_}" for name, help_ in BENCHMARKS.items())
    parser = CommandParser(
        prog="anticipate benchmark",
        description=f"Measure speed and memory on this machine.\n\nbenchmarks:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=BENCHMARKS, metavar="NAME", help="what to measure")
    parser.add_argument("--json", action="store_true", help="write one JSON document to stdout")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument(
        "--repeats", type=_count, default=5, metavar="N", help="rounds of measuring (default: 5)"
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of at least 1")
    return int(text)
