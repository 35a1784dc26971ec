"""A sweep from its plan to its table of scores."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from anticipate.console import notice, print_json
from anticipate.errors import ConfigError
from anticipate.files import tested
from anticipate.lab.studies import STUDY_FILE, check_parent, read_study
from anticipate.lab.sweep.folder import share_results
from anticipate.lab.sweep.local import LocalLauncher, shares, this_machine
from anticipate.lab.sweep.plan import (
    Choice,
    Planned,
    check_data,
    expand,
    find_experiments,
    in_stages,
    plan,
    splits_of,
)
from anticipate.lab.sweep.slurm import SlurmLauncher
from anticipate.lab.sweep.sweep_tables import (
    document,
    plan_table,
    read_scores,
    summarise,
    summary_table,
)
from anticipate.lab.sweep.task import Launcher, State, Task, take_lock
from anticipate.training.loading import read
from anticipate.training.settings import find_file

INTERVAL = 0.5
"""Seconds between two looks at the runs."""


def sweep(options: argparse.Namespace) -> None:
    """Do what the command line asks for; exit with code 1 when a run failed.

    Args:
        options: What the parser of `anticipate sweep` returns.

    Raises:
        AnticipateError: A mistake of the user; nothing was started.
    """
    planned = planned_runs(options)
    stages = [[Task(run) for run in stage] for stage in in_stages(planned)]
    if options.dry_run:
        Console().print(plan_table(planned))
        return
    tasks = [task for stage in stages for task in stage]
    check_data([task.run for task in tasks])
    launcher = _launcher(options, planned[0].run.run_dir)
    for run, _, same_as in planned:
        log = take_lock(run.folder) if same_as else None
        if log and same_as:
            with log:
                share_results(run.folder, same_as, run.run_dir)
    notice(f"to do: {len(tasks)} of {len(planned)} runs")
    work(launcher, stages)
    _report(planned, options.json)
    failed = [task for task in tasks if task.state == "failed"]
    for task in failed:
        notice(f"failed: {task.run.folder}, see {task.log}")
    if failed:
        sys.exit(1)


def work(launcher: Launcher, stages: Sequence[list[Task]]) -> None:
    """Run all tasks, those of a stage after all of the one before, and show their progress.

    Args:
        launcher: Where.
        stages: What; the states of the tasks change.

    Raises:
        KeyboardInterrupt: Ctrl-C or a signal to end; what ran has been stopped in order.
    """
    under_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    for number in (signal.SIGINT, signal.SIGTERM, *(() if under_nohup else (signal.SIGHUP,))):
        signal.signal(number, signal.default_int_handler)
    tasks = [task for stage in stages for task in stage]
    with board(tasks, Console(stderr=True)) as show:
        try:
            for stage in stages:
                launcher.launch(stage)
                while any(task.open for task in stage):
                    launcher.poll()
                    show()
                    time.sleep(INTERVAL)
        except KeyboardInterrupt:
            notice(f"{launcher.stop()}; to continue: the same command")
            raise


def planned_runs(options: argparse.Namespace) -> list[Planned]:
    """Return the runs that a command line asks for, and what is left to do for each.

    Raises:
        AnticipateError: A mistake of the user.
    """
    for file in (file for path in options.paths for file in find_file(path).rglob(STUDY_FILE)):
        study = read_study(file)
        check_parent(study, read(["--config", str(study.parent)]))
    splits = options.splits
    if splits and "all" in splits:
        if len(splits) > 1:
            raise ConfigError(f"--splits {' '.join(map(str, splits))}: give numbers or all")
        splits = "all"
    choice = Choice(
        run_dir=options.run_dir,
        seeds=tuple(dict.fromkeys(options.seeds)) if options.seeds else None,
        splits=tuple(dict.fromkeys(splits)) if isinstance(splits, list) else splits,
        overrides=tuple(options.set),
        profile=options.profile,
    )
    return plan(expand(find_experiments(options.paths), choice, read, splits_of))


def _launcher(options: argparse.Namespace, run_dir: Path) -> Launcher:
    if options.launcher == "slurm":
        return SlurmLauncher(run_dir, options.jobs, options.slurm)
    if options.slurm:
        raise ConfigError("--slurm needs --launcher slurm")
    return LocalLauncher(shares(this_machine(), options.jobs))


def _report(planned: list[Planned], as_json: bool) -> None:
    folders: list[Path] = [same_as or run.folder for run, _, same_as in planned]
    scores = [read_scores(folder) if tested(folder) else None for folder in folders]
    if as_json:
        print_json(document(planned, scores))
    else:
        Console().print(summary_table(summarise(planned, scores)))


COLOURS: dict[State, str] = {
    "running": "cyan",
    "elsewhere": "cyan",
    "queued": "none",
    "failed": "red",
    "stopped": "yellow",
    "finished": "green",
}
"""Colour of each state, in the order of the table: running ones on top."""


@contextmanager
def board(tasks: Sequence[Task], console: Console) -> Iterator[Callable[[], None]]:
    """Show tasks while they are worked on: a live table on a terminal, a line per change elsewhere.

    Args:
        tasks: The tasks.
        console: Where to; a terminal gets the live table.

    Yields:
        A function that shows the states of now.
    """
    said = [task.state for task in tasks]
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def show() -> None:
        if live:
            live.update(task_table(tasks), refresh=True)
            return
        for number, task in enumerate(tasks):
            if task.state != said[number]:
                said[number] = task.state
                notice("  ".join(word for word in _cells(task) if word))

    with live or nullcontext():
        try:
            yield show
        finally:
            show()


def task_table(tasks: Sequence[Task]) -> Table:
    """Return the table of all tasks but those that wait, which are counted."""
    table = Table("run", "state", "epoch", "time", "score")
    for state, colour in COLOURS.items():
        for task in tasks:
            if task.state == state:
                table.add_row(*_cells(task), style=colour)
    waiting = sum(task.state == "waiting" for task in tasks)
    done = sum(not task.open for task in tasks)
    table.caption = f"{done} of {len(tasks)} runs done, {waiting} waiting"
    return table


def _cells(task: Task) -> tuple[str, ...]:
    run = task.run
    name = f"{run.name} split {run.split} seed {run.seed}"
    seconds = round(task.elapsed)
    spent = str(timedelta(seconds=seconds)) if seconds else ""
    score = next((f"{value:.2f} {measure}" for measure, value in task.scores.items()), "")
    return name, task.state, task.epoch(), spent, score
