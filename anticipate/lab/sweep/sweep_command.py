"""The command line of sweeps."""

import argparse
from pathlib import Path
from typing import Literal

from anticipate.console import CommandParser, at_least_one


def main(argv: list[str]) -> None:
    """Run `anticipate sweep PATH...`; exit with code 1 when a run failed.

    Args:
        argv: The words of the command line from `sweep` on.

    Raises:
        AnticipateError: A mistake of the user; nothing was started.
    """
    options = parse(argv)
    from anticipate.lab.sweep.run_sweep import sweep  # here: Lightning takes seconds to import

    sweep(options)


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the words of a command line from `sweep` on."""
    return _parser().parse_args(argv[1:])


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="anticipate sweep",
        description="Train and test experiments: files x splits x seeds. Finished runs are "
        "skipped, interrupted ones continue after their last epoch, runs of equal settings are "
        "trained once. At the end: mean and spread of the main scores of each experiment.",
    )
    add = parser.add_argument
    add("paths", nargs="+", type=Path, metavar="PATH", help="experiment (*.yaml) or folder of them")
    add("--seeds", nargs="+", type=int, metavar="N", help="seeds (default: the files')")
    add(
        "--splits",
        nargs="+",
        type=_split,
        metavar="K",
        help="splits, or: all (default: the files')",
    )
    add("--profile", metavar="NAME", help="make the experiments smaller by profiles/*_NAME.yaml")
    add(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        type=_setting,
        metavar="KEY=VALUE",
        help="settings of every experiment, as those of anticipate fit: trainer.max_epochs=3",
    )
    add("--run-dir", type=Path, metavar="DIR", help="folder of all runs (default: the files')")
    add("--launcher", choices=("local", "slurm"), default="local", help="where (default: local)")
    add(
        "--jobs",
        type=at_least_one,
        metavar="N",
        help="runs at a time (default: one per GPU, or one)",
    )
    add(
        "--slurm",
        nargs="+",
        action="extend",
        default=[],
        type=_setting,
        metavar="KEY=VALUE",
        help="options of sbatch, as partition=gpu time=600 (minutes) cpus_per_task=8",
    )
    add("--dry-run", action="store_true", help="show what would be run, and run nothing")
    add("--json", action="store_true", help="write runs and scores as JSON to stdout")
    return parser


def _split(text: str) -> int | Literal["all"]:
    return "all" if text == "all" else at_least_one(text)


def _setting(text: str) -> str:
    key, equals, _ = text.partition("=")
    if not (key and equals) or key.startswith("-"):
        raise argparse.ArgumentTypeError(f"'{text}' is not key=value")
    return text
