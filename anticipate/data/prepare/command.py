"""The command line of `anticipate prepare`."""

import argparse
from importlib import import_module
from pathlib import Path

from anticipate.console import CommandParser, notice
from anticipate.data.prepare.convert import Storage, write_release, write_short_term
from anticipate.data.prepare.options import not_negative, positive
from anticipate.data.prepare.short_term_release import ShortTermRelease

_FOLDER = "anticipate.data.prepare."
DATASETS = {
    "breakfast": ("mstcn", "Breakfast in the layout of MS-TCN"),
    "50salads": ("mstcn", "50Salads in the layout of MS-TCN"),
    "assembly101": ("assembly101", "Assembly101 with coarse labels"),
    "synthetic": ("synthetic", "small invented data set for the demo"),
    "ek100": ("epic", "EPIC-Kitchens-100 in the layout of RULSTM"),
    "ek55": ("epic", "EPIC-Kitchens-55 in the layout of RULSTM"),
    "egtea": ("egtea", "EGTEA Gaze+ in the layout of RULSTM"),
    "synthetic_actions": (
        "synthetic_actions",
        "small invented data set of short-term anticipation",
    ),
}
"""Data set -> module here with `add_arguments(parser)` and `prepare(arguments)`, help."""


def main(argv: list[str]) -> None:
    """Run `anticipate prepare`.

    Args:
        argv: The words of the command line from `prepare` on.
    """
    arguments = _parser(argv[1:]).parse_args(argv[1:])
    module = import_module(_FOLDER + DATASETS[arguments.dataset][0])
    release, source = module.prepare(arguments)
    storage = Storage(
        path=arguments.output,
        dtype=arguments.dtype,
        workers=arguments.workers,
        overwrite=arguments.force,
    )
    if isinstance(release, ShortTermRelease):
        write_short_term(release, source, storage, arguments.fps)
    else:
        write_release(release, source, storage, arguments.stride)
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
            import_module(_FOLDER + module).add_arguments(command)
    return parser


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--output", type=Path, required=True, metavar="FILE.h5", help="data file to make")
    add("--dtype", choices=["float16", "float32"], default="float32", help="stored feature type")
    add("--workers", type=positive, default=1, metavar="N", help="threads that read features")
    add("--feature-dim", type=positive, metavar="D", help="width of the features")
    add(
        "--noise",
        type=not_negative,
        default=1.0,
        metavar="S",
        help="multiple of the noise of synthetic features that lets a linear classifier name 65 %% "
        "of single frames (default: 1)",
    )
    add("--seed", type=int, default=0, metavar="N", help="seed of synthetic features (default: 0)")
    add("--force", action="store_true", help="replace an existing file")
