"""Which runs a sweep consists of, and what is left to do for each: files x splits x seeds."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from anticipate.catalog import class_at
from anticipate.datasets.batches.file_module import FileDataModule
from anticipate.datasets.file.data_file import DataFile
from anticipate.datasets.file.dense_file import DenseStore
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.errors import ConfigError
from anticipate.files import run_folder
from anticipate.lab.studies import STUDY_FILE
from anticipate.lab.sweep.folder import Stage, shared_results, stage_of
from anticipate.training.settings import (
    Settings,
    current_path,
    decisive,
    experiment_of,
    find_file,
)
from anticipate.training.starting_weights import Place, finished, runs_before


def splits_of(settings: Settings) -> tuple[int, ...]:
    """Return the numbers of all splits of the data file that settings name.

    Raises:
        DataError: No such file, or a damaged one.
    """
    path = settings["data.init_args.path"]
    with DataFile(path) as file:
        kind = file.kind
    if kind == "short_term":
        with ShortTermStore(path) as clips:
            return tuple(sorted(map(int, clips.num_rows)))
    with DenseStore(path) as videos:
        return tuple(sorted(map(int, videos.splits)))


NO_EXPERIMENTS = "profiles"
"""Folder of files that only make experiments smaller."""


def find_experiments(paths: Sequence[Path]) -> list[Path]:
    """Return the experiments of files and folders, those of a folder by name, its files first.

    Args:
        paths: YAML files, and folders that are searched with all folders in them, of the current
            folder or of the package's recipes.

    Raises:
        ConfigError: Nothing there, or no YAML file in a folder.
    """
    return list(dict.fromkeys(file for path in paths for file in _files(find_file(path))))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ConfigError(f"no file or folder {path}: name experiments (*.yaml) or their folder")
    found = [
        file
        for file in path.rglob("*.yaml")
        if file.parent.name != NO_EXPERIMENTS and file.name != STUDY_FILE
    ]
    if not found:
        raise ConfigError(f"no experiments (*.yaml) in {path}")
    return sorted(found, key=lambda file: (len(file.relative_to(path).parts), file))


SPLIT = "data.init_args.split"
SEED = "seed_everything"

Step = Literal["train", "resume", "finished", "same"]
"""What a sweep does about a run; `same`: another run of the plan has the same settings."""


class Run(NamedTuple):
    """One training and test."""

    name: str
    split: int
    seed: int
    run_dir: Path
    folder: Path
    options: tuple[str, ...]
    """The words after `anticipate fit`."""
    settings: Settings

    @property
    def needs(self) -> tuple[Path, ...]:
        """Folders of the runs whose weights it starts from, or that observe for it."""
        place = Place(self.run_dir, self.split, self.seed)
        return tuple(place.folder(name) for name in runs_before(self.settings))


class Planned(NamedTuple):
    """A run, and what is to be done with it."""

    run: Run
    step: Step
    same_as: Path | None = None
    """Folder of the run whose results are also this one's."""


class Choice(NamedTuple):
    """What the user wants of every experiment; None leaves it to the experiment's file."""

    run_dir: Path | None = None
    """Folder of all runs; by default the `run_dir` of each experiment."""
    seeds: tuple[int, ...] | None = None
    splits: Literal["all"] | tuple[int, ...] | None = None
    overrides: tuple[str, ...] = ()
    """Settings as `key=value`."""
    profile: str | None = None
    """What makes every experiment smaller."""


def expand(
    experiments: Sequence[Path],
    choice: Choice,
    read: Callable[[Sequence[str]], Settings],
    splits_of: Callable[[Settings], Sequence[int]],
) -> list[Run]:
    """Return the runs of all experiments, splits and seeds, and of those that they start from.

    Args:
        experiments: The files.
        choice: Seeds, splits and settings for all of them.
        read: Returns the settings of options of `anticipate fit`.
        splits_of: Returns the splits of the data file that settings name.

    Raises:
        ConfigError: A file that cannot be used, or two with one run name.
    """
    runs: list[Run] = []
    owners: dict[str, Path] = {}
    rest = list(experiments)
    while rest:
        for experiment in rest:
            found = _runs_of(experiment, choice, read, splits_of)
            name = found[0].name
            if name in owners:
                raise ConfigError(
                    f"{owners[name]} and {experiment} have one run name, '{name}': "
                    "their runs would share a folder; rename one"
                )
            owners[name] = experiment
            runs += found
        rest = _sources(runs, owners)
    return runs


def _runs_of(
    experiment: Path,
    choice: Choice,
    read: Callable[[Sequence[str]], Settings],
    splits_of: Callable[[Settings], Sequence[int]],
) -> list[Run]:
    """Return the runs of one experiment."""
    smaller = () if choice.profile is None else ("--profile", choice.profile)
    options = (
        *("--config", str(experiment), *smaller),
        *(f"--{override}" for override in choice.overrides),
    )
    try:
        settings = read(options)
    except ConfigError as error:
        where = "" if str(error).startswith(str(experiment)) else f"{experiment}: "
        raise ConfigError(f"{where}{error}") from error
    name, run_dir = str(settings["run_name"]), choice.run_dir or Path(settings["run_dir"])
    splits = splits_of(settings) if choice.splits == "all" else choice.splits
    return [
        _run(name, options, settings, split, seed, run_dir)
        for split in splits or (settings[SPLIT],)
        for seed in choice.seeds or (settings[SEED],)
    ]


def _sources(runs: Sequence[Run], known: Collection[str]) -> list[Path]:
    """Return the experiments of the runs that others need and that are not there yet."""
    names = {
        name
        for run in runs
        for name, folder in zip(runs_before(run.settings), run.needs, strict=True)
        if name not in known and not finished(folder, run.run_dir)
    }
    return [path for name in sorted(names) if (path := experiment_of(name))]


def plan(runs: Sequence[Run]) -> list[Planned]:
    """Return what is left to do, after a look at the folders of all runs.

    Of runs with equal settings but for their names, one is trained; the others share its results.

    Raises:
        RunExistsError: A folder holds a run with other settings, or remains of one.
    """
    stages = {run.folder: stage_of(run.folder, run.settings) for run in runs}
    first: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: _EAGERNESS[stages[run.folder]]):
        first.setdefault(_identity(run), run)
    return [_planned(run, stages[run.folder], first[_identity(run)]) for run in runs]


def in_stages(planned: Sequence[Planned]) -> list[list[Run]]:
    """Return the runs to train or resume, in stages: none needs one of its own or a later one.

    Raises:
        ConfigError: A run needs one that is neither finished nor to be trained, or itself.
    """
    same = {run.folder: other for run, _, other in planned if other}
    sources = {
        run.folder: {same.get(folder, folder) for folder in run.needs} for run, *_ in planned
    }
    rest = [run for run, step, _ in planned if step in ("train", "resume")]
    open_folders = {run.folder for run in rest}
    for run in (run for run, step, _ in planned if step == "train"):
        for folder in sorted(sources[run.folder] - open_folders):
            if not finished(folder, run.run_dir):
                raise ConfigError(
                    f"'{run.name}' needs the run in {folder}, which is neither finished nor "
                    "part of this sweep, and no experiment has that name: name its file, too"
                )
    stages: list[list[Run]] = []
    while rest:
        open_folders = {run.folder for run in rest}
        ready = [run for run in rest if open_folders.isdisjoint(sources[run.folder])]
        if not ready:
            names = ", ".join(run.name for run in rest)
            raise ConfigError(f"runs need each other in a circle: {names}")
        stages.append(ready)
        rest = [run for run in rest if run not in ready]
    return stages


def check_data(runs: Sequence[Run]) -> None:
    """Open the data files of some runs, else each run would fail, one after the other.

    Args:
        runs: What will be trained.

    Raises:
        AnticipateError: A data file that is missing or of another data set, or has no such split.
    """
    checked: list[Settings] = []
    for run in runs:
        settings = {key: value for key, value in run.settings.items() if key.startswith("data.")}
        if settings in checked:
            continue
        checked.append(settings)
        data_set = class_at(current_path(settings["data.class_path"]))
        if issubclass(data_set, FileDataModule):
            start = "data.init_args."
            given = {key.removeprefix(start): settings[key] for key in settings if start in key}
            given = {key: value for key, value in given.items() if "." not in key}  # no windows
            lists = {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
            data_set(**given | lists).prepare_data()


_EAGERNESS: Mapping[Stage, int] = {"finished": 0, "begun": 1, "new": 2}
_STEPS: Mapping[Stage, Step] = {"finished": "finished", "begun": "resume"}


def _planned(run: Run, stage: Stage, first: Run) -> Planned:
    if stage != "new":
        return Planned(run, _STEPS[stage])
    other = first.folder if run is not first else None
    other = other or shared_results(run.folder, run.settings, run.run_dir)
    return Planned(run, "same" if other else "train", other)


def _run(
    name: str, options: tuple[str, ...], settings: Settings, split: int, seed: int, run_dir: Path
) -> Run:
    place = (f"--data.init_args.split={split}", f"--seed_everything={seed}", f"--run_dir={run_dir}")
    folder = run_folder(run_dir, name, split, seed)
    exact: dict[str, Any] = {**settings, SPLIT: split, SEED: seed, "run_dir": str(run_dir)}
    return Run(name, split, seed, run_dir, folder, (*options, *place), exact)


def _identity(run: Run) -> str:
    settings = decisive(run.settings)
    own = sorted((key, value) for key, value in settings.items() if key != "run_name")
    return repr((run.run_dir, own))
