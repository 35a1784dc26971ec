"""`anticipate evidence`: what can be shown without real features, run again by one command.

`run` makes data files from real labels with synthetic features, trains the reduced recipes of all
systems and the studies that matter, scores what labels alone show, and writes one page and
`evidence.json`. It says first how long that will take, and continues where it was stopped.
`tables` writes the tables of the documents from such a file.
"""

import json
import lzma
import sys
import tarfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

from anticipate.cli import main as run_command
from anticipate.console import CommandParser, at_least_one, notice
from anticipate.datasets.file.data_file import DataFile
from anticipate.errors import AnticipateError, ConfigError, DataError
from anticipate.files import (
    CHECKPOINT,
    CONFIG,
    METRICS,
    PREDICTIONS,
    run_folder,
    tested,
    write_whole,
)
from anticipate.lab.evidence.evidence_file import FILE, contents, document, fault_of, to_text
from anticipate.lab.evidence.evidence_plan import (
    DATA,
    RUNS,
    Part,
    Plan,
    read_plan,
    seconds_of_work,
    seconds_to_do,
)
from anticipate.lab.evidence.evidence_tables import LABEL_TABLES, TABLES, update
from anticipate.lab.report.report_page import LabelPart, write_report
from anticipate.lab.report.runs import Collection, collect
from anticipate.lab.sweep.local import shares, this_machine
from anticipate.lab.sweep.plan import Planned
from anticipate.machine import usable_cores
from anticipate.training.settings import find_file

DOCUMENTS = (Path("README.md"), Path("experiments/README.md"))
PICTURES = {
    "known_length": "The tri-gram, told of the length of the video",
    "recognition": "Observed segments mistaken",
    "top1_by_samples": "Top-1 MoC by the number of samples",
    "reliability": "Share of the samples and frequency of being right",
    "durations": "Durations and numbers of segments",
}
"""Figures of the label studies, by the names of their files."""
LABELS = RUNS / "labels"
"""Folder of the label studies."""


def main(argv: list[str]) -> None:
    """Run `anticipate evidence run` or `anticipate evidence tables`.

    Args:
        argv: The command's name and its options.

    Raises:
        AnticipateError: A mistake of the user; nothing was started.
    """
    parser = CommandParser(prog="anticipate evidence", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser("run", help="make data, train, score, and write the page")
    command.add_argument(
        "--labels", type=Path, metavar="DIR", help="folder of real labels: breakfast, ek100"
    )
    command.add_argument("--quick", action="store_true", help="the main parts, one seed")
    command.add_argument(
        "--jobs",
        type=at_least_one,
        default=usable_cores(),
        metavar="N",
        help="runs at a time (default: one per core)",
    )
    command.add_argument("--dry-run", action="store_true", help="say how long it takes, and stop")
    command.add_argument(
        "--output", type=Path, default=Path("evidence"), metavar="DIR", help="folder of the page"
    )
    command.set_defaults(run=run)
    command = commands.add_parser("tables", help="write the tables of README.md from the file")
    command.add_argument("file", nargs="?", type=Path, default=FILE, metavar="evidence.json")
    command.add_argument(
        "--replace", action="store_true", help=f"also where {FILE} has runs that the file lacks"
    )
    command.set_defaults(run=write_tables)
    options = parser.parse_args(argv[1:])
    options.run(options)


def run(options: Namespace) -> None:
    """Make everything, or say how long it takes; exit with code 1 when a run failed."""
    plan = read_plan(options.quick)
    shares(this_machine(), options.jobs)
    if options.output.exists() and not options.output.is_dir():
        raise ConfigError(f"--output {options.output}: expected a folder, found a file")
    usable = {name for name in plan.data if _make_data(name, plan, options.labels)}
    parts = [part for part in plan.parts if part.data in usable]
    if not parts:
        raise ConfigError("nothing to run: name a folder of real labels with --labels")
    work = seconds_of_work()
    label_seconds = float(plan.labels["seconds"]) if plan.labels["data"] in usable else 0.0
    _tell_time(parts, options.jobs, work, label_seconds)
    if options.dry_run:
        return
    failed = [part.name for part in parts if not _succeeds(part.words(options.jobs))]
    if plan.labels["data"] in usable and not _study_labels(plan):
        failed.append("label studies")
    _write(work, options.output)
    if failed:
        notice(f"failed: {', '.join(failed)}; the same command tries them again")
        sys.exit(1)


def _make_data(name: str, plan: Plan, labels: Path | None) -> bool:
    """Prepare a data file that a part needs; return whether it is there."""
    file, recipe = DATA / f"{name}.h5", plan.data[name]
    if name not in {part.data for part in plan.parts}:
        return False
    if file.exists():
        _check_data(file, recipe, labels)
        return True
    words = ["prepare", *recipe["prepare"].split(), "--output", str(file)]
    if "labels" in recipe:
        source = _label_folder(recipe["labels"], labels)
        if source is None:
            where = "no --labels" if labels is None else f"no {labels / recipe['labels']}"
            notice(f"left out, as there are no real labels ({where}): what needs {file.name}")
            return False
        words += ["--source", str(source)]
    DATA.mkdir(parents=True, exist_ok=True)
    run_command(words)
    write_whole(_recipe_file(file), recipe["prepare"])
    return True


def _check_data(file: Path, recipe: Mapping[str, str], labels: Path | None) -> None:
    """See that a data file is the one, and say so where it was not made of the labels asked for.

    Raises:
        DataError: It is damaged, or of another data set.
    """
    again = f"anticipate evidence run, after you have deleted {file}"
    with DataFile(file, again) as data:
        found, source = data.dataset, Path(data.source)
    expected = recipe["prepare"].split()[0]
    if found != expected:
        raise DataError(f"{file} holds {found}, expected {expected}: make it with: {again}")
    made = _recipe_file(file).read_text() if _recipe_file(file).is_file() else recipe["prepare"]
    if made != recipe["prepare"]:
        raise DataError(
            f"{file} was made with '{made}', the plan now says '{recipe['prepare']}': delete it, "
            f"and the runs below {RUNS} that read it"
        )
    asked = labels / recipe["labels"] if labels and "labels" in recipe else None
    if asked and asked.is_dir() and asked.resolve() != source.resolve():
        notice(
            f"{file} was made from {source}, and {asked} is not read: to use those labels, "
            f"delete the file and {RUNS}"
        )


def _recipe_file(data: Path) -> Path:
    """Return where it is noted how a data file was made."""
    return data.with_suffix(".recipe")


def _label_folder(name: str, labels: Path | None) -> Path | None:
    """Return the folder of a release below the labels, unpacked where it is an archive."""
    if labels is None:
        return None
    if not labels.is_dir():
        raise ConfigError(f"--labels {labels}: no such folder")
    archive, unpacked = labels / f"{name}.tar.xz", DATA / "labels"
    if (labels / name).is_dir():
        return labels / name
    if not archive.is_file():
        return None
    try:
        with tarfile.open(archive) as release:
            release.extractall(unpacked, filter="data")
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{archive} cannot be unpacked ({error}): copy it again") from error
    return unpacked / name if (unpacked / name).is_dir() else unpacked


def _tell_time(parts: Sequence[Part], jobs: int, work: float, label_seconds: float) -> None:
    planned: list[tuple[str, Planned]] = []
    for part in parts:
        try:
            planned += [(part.name, one) for one in part.planned(jobs)]
        except AnticipateError as error:
            notice(f"{part.name} cannot be run as it is, the others can: {error}")
    todo = [(part, one.run.name) for part, one in planned if one.step in ("train", "resume")]
    try:
        known = read_evidence(find_file(FILE))
    except DataError as error:
        notice(f"how long it takes is not known: {error}")
        return
    runs = {name: part["runs"] for name, part in known["parts"].items()}
    slowness = work / known["machine"]["seconds_of_work"]
    seconds, alone = slowness * seconds_to_do(todo, runs), slowness * label_seconds
    notice(
        f"evidence: {len(todo)} of {len(planned)} runs to do, {jobs} at a time: about "
        f"{_hours(seconds / jobs + alone)} on this machine ({_hours(seconds + alone)} of one core)"
    )


def _hours(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def _succeeds(words: list[str]) -> bool:
    try:
        run_command(words)
    except SystemExit as end:
        if end.code == 130:
            raise
        return not end.code
    return True


def _study_labels(plan: Plan) -> bool:
    """Write the documents and figures of the label studies; return whether all was possible."""
    part = next(part for part in plan.parts if part.name == plan.labels["part"])
    data = ("--data", str(part.file))
    words = ["score", "labels", *data, "--split", "1", "--output", str(LABELS)]
    whole = _save_json("labels", words)
    for split in plan.labels["splits"]:
        words = ["score", "futures", *data, "--split", str(split), "--samples", "100"]
        whole &= _save_json(f"split_{split}", words)
    folders = [run_folder(part.folder, name, 1, part.seeds[0]) for name in plan.labels["futures"]]
    trained = [one for one in folders if tested(one) and (one / CHECKPOINT).is_file()]
    whole &= all([_sample(folder, part.folder) for folder in trained])
    files = [str(file) for folder in trained if (file := folder / PREDICTIONS).is_file()]
    words = ["score", "futures", *files, *data, "--split", "1", "--allow-missing"]
    return _save_json("futures", [*words, "--output", str(LABELS)]) and whole


def _sample(folder: Path, run_dir: Path) -> bool:
    """Sample the futures of a run unless that was done after its test; return whether they are."""
    futures, test = folder / PREDICTIONS, folder / METRICS
    if futures.is_file() and futures.stat().st_mtime >= test.stat().st_mtime:
        return True
    words = ["predict", "--config", str(folder / CONFIG), "--run_dir", str(run_dir)]
    return _succeeds([*words, "--ckpt_path", str(folder / CHECKPOINT)])


def _save_json(name: str, words: list[str]) -> bool:
    LABELS.mkdir(parents=True, exist_ok=True)
    with redirect_stdout(StringIO()) as out:
        succeeded = _succeeds([*words, "--json"])
    if succeeded:
        write_whole(LABELS / f"{name}.json", out.getvalue())
    return succeeded


def _read_labels(plan: Plan) -> dict[str, Any]:
    """Return the documents of the label studies; none where one is missing or damaged."""
    names = ["labels", *(f"split_{split}" for split in plan.labels["splits"]), "futures"]
    found = {}
    for file in (LABELS / f"{name}.json" for name in names):
        try:
            found[file.stem] = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            notice(f"label studies are left out, as {file} cannot be read: {error}")
            return {}
    return found


def _write(work: float, output: Path) -> None:
    """Write the page and the file, of all parts that have runs, also of earlier commands."""
    plan, collections = read_plan(), {}
    for part in plan.parts:
        with suppress(DataError):  # it has no run yet
            collections[part] = collect([part.folder])
    labels = _read_labels(plan)
    found = {part: one.runs for part, one in collections.items()}
    evidence = document(found, work, labels)
    output.mkdir(parents=True, exist_ok=True)
    write_whole(output / FILE.name, to_text(evidence) + "\n")
    path = write_report(
        output,
        Collection(
            tuple(run for one in collections.values() for run in one.runs),
            tuple(left for one in collections.values() for left in one.skipped),
        ),
        LabelPart(
            {title: LABELS / f"{name}.png" for name, title in PICTURES.items()},
            [TABLES[name](evidence) for name in LABEL_TABLES],
        )
        if labels
        else None,
    )
    notice(f"evidence of {sum(map(len, found.values()))} runs: {path}, {output / FILE.name}")


def write_tables(options: Namespace) -> None:
    """Write the tables of the documents below the current folder, and their file, from a file.

    Raises:
        DataError: There is no such file, or it is none of `evidence run`.
        ConfigError: It lacks runs that the tables show now.
    """
    evidence, tables = read_evidence(options.file), read_plan().tables
    if FILE.is_file() and not options.replace:
        _check_none_lost(options.file, evidence)
    found = [path for path in DOCUMENTS if path.is_file()]
    if not found:
        raise DataError(f"no {' or '.join(map(str, DOCUMENTS))} here: start where the clone is")
    try:
        texts = {path: update(path.read_text(), evidence, tables) for path in found}
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        raise DataError(
            f"{options.file} lacks what the tables need ({error}): they are made of a whole "
            "anticipate evidence run, with real labels"
        ) from error
    for path, text in ({FILE: to_text(evidence) + "\n"} | texts).items():
        write_whole(path, text)
    notice(f"tables written: {', '.join(map(str, texts))}; they are those of {FILE}")


def _check_none_lost(path: Path, evidence: Mapping[str, Any]) -> None:
    lost = sorted(contents(read_evidence(FILE)) - contents(evidence))
    if lost:
        raise ConfigError(
            f"{path} lacks {len(lost)} results of {FILE}, such as {lost[0]}: make them (anticipate "
            "evidence run, without --quick), or --replace"
        )


def read_evidence(path: Path) -> Mapping[str, Any]:
    """Read an `evidence.json`.

    Raises:
        DataError: There is no such file, or it is none of `evidence run`.
    """
    made = "anticipate evidence run makes it anew"
    try:
        evidence: Mapping[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): {made}") from error
    fault = fault_of(evidence)
    if fault:
        raise DataError(f"{path} {fault}: {made}")
    return evidence
