"""The command line of `anticipate prepare`."""

import argparse
from importlib import import_module
from pathlib import Path

from anticipate.console import CommandParser, notice
from anticipate.data.prepare.convert import Storage, write_release

DATASETS = {
    "breakfast": ("anticipate.data.prepare.mstcn", "Breakfast in the layout of MS-TCN"),
    "50salads": ("anticipate.data.prepare.mstcn", "50Salads in the layout of MS-TCN"),
    "assembly101": ("anticipate.data.prepare.assembly101", "Assembly101 with coarse labels"),
    "synthetic": ("anticipate.data.prepare.synthetic", "small invented data set for the demo"),
}
"""Data set -> module with `add_arguments(parser)` and `prepare(arguments)`, help."""


def main(argv: list[str]) -> None:
    """Run `anticipate prepare`.

    Args:
        argv: The words of the command line from `prepare` on.
    """
    arguments = _parser(argv[1:]).parse_args(argv[1:])
    release, source = import_module(DATASETS[arguments.dataset][0]).prepare(arguments)
    storage = Storage(
        path=arguments.output,
        dtype=arguments.dtype,
        stride=arguments.stride,
        workers=arguments.workers,
        overwrite=arguments.force,
    )
    write_release(release, source, storage)
    kind = "synthetic features" if source.synthetic else "features"
    notice(f"{storage.path}: {len(release.videos)} videos, {source.feature_dim} {kind} per frame")


def _parser(words: list[str]) -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="anticipate prepare", description="Convert a release into one HDF5 file."
    )
    commands = parser.add_subparsers(dest="dataset", metavar="DATASET", required=True)
    for name, (module, help_) in DATASETS.items():
        command = commands.add_parser(name, help=help_, description=f"Prepare {help_}.")
        if name in words:
            _add_common_arguments(command)
            import_module(module).add_arguments(command)
    return parser


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--output", type=Path, required=True, metavar="FILE.h5", help="data file to make")
    add("--dtype", choices=["float16", "float32"], default="float32", help="stored feature type")
    add(
        "--stride",
        type=_positive,
        default=1,
        metavar="N",
        help="store features of frames 0, N, 2N ..; labels stay at full rate (default: 1)",
    )
    add("--workers", type=_positive, default=1, metavar="N", help="threads that read features")
    add("--feature-dim", type=_positive, metavar="D", help="width of the features")
    add(
        "--noise",
        type=_not_negative,
        default=1.0,
        metavar="S",
        help="multiple of the noise of synthetic features that lets a linear classifier name 65 %% "
        "of single frames (default: 1)",
    )
    add("--seed", type=int, default=0, metavar="N", help="seed of synthetic features (default: 0)")
    add("--force", action="store_true", help="replace an existing file")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, not {text}")
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, not {text}")
    return value
