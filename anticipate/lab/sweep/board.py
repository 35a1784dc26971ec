"""How a sweep shows what it does: a live table on a terminal, a line per change elsewhere."""

from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from anticipate.console import notice
from anticipate.lab.sweep.task import State, Task

COLOURS: dict[State, str] = {
    "running": "cyan",
    "elsewhere": "cyan",
    "queued": "none",
    "failed": "red",
    "stopped": "yellow",
    "finished": "green",
}
"""Colour of each state, in the order of the table: running ones on top."""


class Board:
    """Shows tasks while they are worked on.

    Args:
        tasks: The tasks.
        console: Where to; a terminal gets the live table.
    """

    def __init__(self, tasks: Sequence[Task], console: Console) -> None:
        self._tasks = tasks
        self._said: list[State] = [task.state for task in tasks]
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> "Board":
        if self._live:
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.show()
        if self._live:
            self._live.__exit__(kind, error, trace)

    def show(self) -> None:
        """Show the states."""
        if self._live:
            self._live.update(task_table(self._tasks), refresh=True)
            return
        for number, task in enumerate(self._tasks):
            if task.state != self._said[number]:
                self._said[number] = task.state
                notice("  ".join(word for word in _cells(task) if word))


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
    time = str(timedelta(seconds=seconds)) if seconds else ""
    score = next((f"{value:.2f} {measure}" for measure, value in task.scores.items()), "")
    return name, task.state, task.epoch(), time, score
