"""`anticipate prepare DATASET ...`: convert a release, or invented data, into one HDF5 file."""

import argparse
import difflib
from pathlib import Path
from typing import Any

from anticipate.catalog import class_at, data_sets
from anticipate.console import CommandParser, notice
from anticipate.datasets.release.options import not_negative, positive
from anticipate.errors import ConfigError


def main(argv: list[str]) -> None:
    """Run `anticipate prepare`.

    Args:
        argv: The words of the command line from `prepare` on.
    """
    options = _parser(argv[1:]).parse_args(argv[1:])
    from anticipate.datasets.release.releases import ShortTermRelease  # here: --help waits for none
    from anticipate.datasets.release.write import Storage, write_dense, write_short_term

    release, source = _checked(options.data_set, options.data_set.read_release(options))
    storage = Storage(
        path=options.output,
        dtype=options.dtype,
        workers=options.workers,
        overwrite=options.force,
    )
    if isinstance(release, ShortTermRelease):
        if "fps" not in options:
            raise ConfigError(
                f"{options.data_set.__name__} does not state the rows of features per second: "
                "expected an option --fps from its add_release_options (see add_fps)"
            )
        write_short_term(release, source, storage, options.fps)
    else:
        write_dense(release, source, storage, getattr(options, "stride", 1))
    kind = "synthetic features" if source.synthetic else "features"
    notice(f"{storage.path}: {len(release.videos)} videos, {source.feature_dim} {kind} per frame")


def _checked(data_set: Any, found: Any) -> tuple[Any, Any]:
    """Return release and source as they were read.

    Raises:
        ConfigError: Something else was read, or a release of another data set than the class is of.
    """
    from anticipate.datasets.release.releases import DenseRelease, FeatureSource, ShortTermRelease

    match found:
        case ((DenseRelease() | ShortTermRelease()) as release, FeatureSource() as source):
            own = getattr(data_set, "dataset", None)
            if own != release.dataset:
                raise ConfigError(
                    f"{data_set.__name__} reads a release of the data set '{release.dataset}', but "
                    f"its own `dataset` is {own!r}: give both one name"
                )
            return release, source
    parts = found if type(found) is tuple else (found,)
    raise ConfigError(
        f"{data_set.__name__}.read_release returned {', '.join(type(p).__name__ for p in parts)}: "
        "expected a DenseRelease or ShortTermRelease, and a source with feature_dim, synthetic, "
        "describe, fingerprint and rows"
    )


def _parser(words: list[str]) -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="anticipate prepare",
        description="Convert a release into one HDF5 file.",
        epilog="Your own data set: the import path of its data module, as my_module.MyDataSet.",
    )
    commands = parser.add_subparsers(dest="dataset", metavar="DATASET", required=True)
    for name, one in data_sets().items():
        help_ = one.fact("release")
        command = commands.add_parser(name, help=help_, description=f"Prepare {help_}.")
        if name in words:
            _add_options(command, one.offer.load())
    for name in words[:1]:
        if name not in data_sets() and not name.startswith("-"):
            _check_name(name)
            data_set = _own_data_set(name)
            description = f"Prepare {data_set.release}."
            _add_options(commands.add_parser(name, description=description), data_set)
    return parser


def _check_name(name: str) -> None:
    """Refuse what is neither a data set of ours nor an import path."""
    if "." in name and not name.endswith(".py"):
        return
    module = Path(name).stem if name.endswith(".py") else "my_module"
    hint = f"a user-defined one is named by its class, as {module}.MyDataSet"
    if near := difflib.get_close_matches(name, data_sets(), n=1):
        hint = f"did you mean '{near[0]}'?"
    elif module == "my_module":
        hint = f"choose from {', '.join(data_sets())}; {hint}"
    raise ConfigError(f"no data set '{name}': {hint}")


def _own_data_set(path: str) -> Any:
    """Import a data module that lies outside the package."""
    data_set = class_at(path)
    if not hasattr(data_set, "read_release"):
        raise ConfigError(
            f"{path} is not a data set: expected a subclass of anticipate.DenseDataModule or "
            "anticipate.ShortTermDataModule with a class method read_release"
        )
    return data_set


def _add_options(parser: argparse.ArgumentParser, data_set: Any) -> None:
    _add_common_options(parser)
    data_set.add_release_options(parser)
    parser.set_defaults(data_set=data_set)


def _add_common_options(parser: argparse.ArgumentParser) -> None:
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
