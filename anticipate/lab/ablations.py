"""`anticipate ablations`: sweep the studies, each on its data or in a reduced profile, and report.

A study whose data file is there runs in full, in `runs/ablations`. One whose data file is missing
runs by the profile `demo` of its parent, in `runs/demo_ablations`, on data that are made first.
The parent of several studies is the first run of all, so that they share it.
"""

import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from anticipate.catalog import class_at
from anticipate.cli import main as run
from anticipate.console import CommandParser, notice
from anticipate.errors import ConfigError
from anticipate.lab.studies import Study, broken_studies, check_parent, studies
from anticipate.training.loading import read
from anticipate.training.settings import current_path

FULL, REDUCED = Path("runs/ablations"), Path("runs/demo_ablations")
PROFILE = "demo"


def main(argv: list[str]) -> None:
    """Sweep studies and write a report on all of them; exit with code 1 when a run failed.

    Args:
        argv: The command's name and its options; what it does not know is for `anticipate sweep`.

    Raises:
        ConfigError: An unknown study, or one that cannot be used.
    """
    parser = CommandParser(
        prog="anticipate ablations",
        description=__doc__,
        epilog="All other options are those of anticipate sweep, such as --seeds 0 1 2.",
    )
    known = [study.name for study in studies()]
    parser.add_argument(
        "--study", nargs="+", default=known, metavar="NAME", help=f"of {', '.join(known)}"
    )
    parser.add_argument("--profile", metavar="NAME", help="make the studies smaller, data or not")
    parser.add_argument(
        "--output", default="report", metavar="DIR", help="folder of the report (default: report)"
    )
    options, others = parser.parse_known_args(argv[1:])
    unknown = sorted(set(options.study) - set(known))
    for name in unknown:
        if name in broken_studies():
            raise broken_studies()[name]
    if unknown:
        raise ConfigError(f"no study '{unknown[0]}': choose from {', '.join(known)}")
    chosen = [study for study in studies() if study.name in options.study]
    for study in chosen:
        check_parent(study, read(["--config", str(study.parent)]))
    failed = False
    for parent, group in groupby(chosen, key=lambda study: study.parent.resolve()):
        try:
            _sweep(parent, list(group), options.profile, others)
        except SystemExit as end:
            failed |= bool(end.code)
    finished = [str(folder) for folder in (FULL, REDUCED) if folder.is_dir()]
    if finished and "--dry-run" not in others:
        run(["report", *finished, "--output", options.output])
    sys.exit(int(failed))


def _sweep(
    parent: Path, group: Sequence[Study], profile: str | None, options: Sequence[str]
) -> None:
    """Sweep the studies of one parent."""
    paths = [str(parent), *(str(study.folder) for study in group)]
    data = Path(read(["--config", str(parent)])["data.init_args.path"])
    if profile is None and data.is_file():
        run(["sweep", *paths, "--run-dir", str(FULL), *options])
        return
    profile = profile or PROFILE
    if not data.is_file():
        notice(
            f"no {data} (anticipate prepare {group[0].data}): the profile '{profile}' instead, "
            "small runs on synthetic data"
        )
    smaller = read(["--config", str(parent), "--profile", profile])
    file = Path(smaller["data.init_args.path"])
    if not file.is_file() and "--dry-run" not in options:
        data_set = class_at(current_path(smaller["data.class_path"]))
        run(["prepare", data_set.dataset, "--output", str(file)])  # type: ignore[attr-defined]
    run(["sweep", *paths, "--run-dir", str(REDUCED), "--profile", profile, *options])
