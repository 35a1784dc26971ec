"""The command line of the benchmarks."""

import argparse
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from anticipate.console import CommandParser, at_least_one, notice, print_json
from anticipate.lab.benchmark.timing import Group
from anticipate.machine import cpu_name

BENCHMARKS = {
    "scan": ("scan_speed:run", "the selective scan: time against other scans, growth with length"),
    "block": (
        "mixant_speed:block",
        "one denoising step: against its own matrix products, growth with samples and experts",
    ),
    "sample": (
        "mixant_speed:sample",
        "25 futures of one video: time by solver and number of steps",
    ),
    "train": (
        "mixant_speed:train",
        "one training step: against the reference scan, growth with length",
    ),
    "aga": ("aga_speed:run", "AGA: forward passes and training steps, time and memory by batch"),
    "data": ("data_speed:run", "one training item: bytes and time against loading a whole .npy"),
    "metrics": ("metrics_speed:run", "the scores of one split: against a loop over frames"),
}
"""The function of each benchmark, in a file of this folder, and its line in the help."""

SOLVERS = "a trained model's scores by solver and number of denoising steps"
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
    if options.name == "solvers":
        from anticipate.lab.benchmark.solvers import run  # here: Lightning takes seconds to import

        run(options)
        return
    if options.device == "cuda":
        from anticipate.lab.benchmark import gpu_speed  # here: it imports all networks

        groups: Sequence[Group] = gpu_speed.run(options.name, options.quick, options.repeats)
        machine |= gpu_speed.describe()
    else:
        groups = benchmark(options.name)(options.quick, options.repeats)
    if options.json:
        print_json(
            {
                "benchmark": options.name,
                "machine": machine,
                "quick": options.quick,
                "repeats": options.repeats,
                "groups": [
                    {**group._asdict(), "rows": [row._asdict() for row in group.rows]}
                    for group in groups
                ],
            }
        )
        return
    console = Console()
    for table in tables(groups):
        console.print(table)
    console.print(", ".join(f"{what} {value}" for what, value in machine.items()), highlight=False)


def benchmark(name: str) -> Callable[[bool, int], Sequence[Group]]:
    """Return a benchmark: a function of whether sizes are tiny, and of the rounds of measuring."""
    module, _, function = BENCHMARKS[name][0].partition(":")
    found: Callable[[bool, int], Sequence[Group]] = getattr(
        import_module(f"anticipate.lab.benchmark.{module}"), function
    )
    return found


def describe() -> dict[str, str | int]:
    """Return processor, threads that torch uses, versions, and how busy the machine is (1 min)."""
    return {
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
    }


def tables(groups: Sequence[Group]) -> Iterator[Table]:
    """Yield one table per group."""
    for group in groups:
        figures = list(dict.fromkeys(name for row in group.rows for name in row.figures))
        table = Table(title=group.title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.min_width, table.title_justify = len(group.title), "left"
        table.caption, table.caption_justify = "\n".join(group.notes) or None, "left"
        for column in ("", "ms", "best ms", "ratio", *figures):
            table.add_column(column, justify="right" if column else "left")
        for row in group.rows:
            cells = (_number(row.figures[name]) if name in row.figures else "" for name in figures)
            times = (_number(1000 * row.seconds), _number(1000 * row.fastest))
            table.add_row(row.name, *times, f"{_number(row.ratio)} x", *cells)
        yield table


def _number(value: float) -> str:
    if value and not 0.001 <= abs(value) < 1e6:
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="anticipate benchmark", description="Measure speed and memory on this machine."
    )
    names = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    for name, (_, help_) in {**BENCHMARKS, "solvers": ("", SOLVERS)}.items():
        one = names.add_parser(name, help=help_, description=f"Measure {help_}.")
        one.add_argument("--json", action="store_true", help="write one JSON document to stdout")
        add_options = _add_solvers if name == "solvers" else _add_timing
        add_options(one.add_argument)
    return parser


def _add_timing(add: Callable[..., object]) -> None:
    add("--quick", action="store_true", help="tiny sizes, to see that it runs")
    add(
        "--repeats",
        type=at_least_one,
        default=5,
        metavar="N",
        help="rounds of measuring (default: 5)",
    )
    add(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="cuda: scan, block, sample, train and aga on a GPU (default: cpu)",
    )


def _add_solvers(add: Callable[..., object]) -> None:
    add("--ckpt", type=Path, required=True, metavar="FILE", help="checkpoint in its run folder")
    add("--data", type=Path, metavar="FILE.h5", help="data file (default: that of the run)")
    add(
        "--videos",
        type=at_least_one,
        metavar="N",
        help="test videos, evenly spread (default: as the run)",
    )
    add(
        "--steps",
        type=at_least_one,
        nargs="+",
        default=STEPS,
        metavar="N",
        help=f"numbers of denoising steps (default: {' '.join(map(str, STEPS))})",
    )
    add(
        "--spacings",
        nargs="+",
        choices=SPACINGS,
        default=SPACINGS,
        metavar="NAME",
        help="which steps: leading, trailing (default: both)",
    )
    add("--seeds", type=_several, default=3, metavar="N", help="seeds of the noise (default: 3)")
    add("--output", type=Path, metavar="DIR", help="folder for solvers.csv and solvers.png")


def _several(text: str) -> int:
    if at_least_one(text) < 2:
        raise argparse.ArgumentTypeError("1 seed shows no noise: expected 2 or more")
    return int(text)
