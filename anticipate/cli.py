"""Entry point `anticipate COMMAND ...`: looks a command up and imports it only then.

Nothing heavy is imported here, so that `anticipate --help` and typing mistakes answer at once.
"""

import difflib
import os
import sys
from importlib import import_module

from anticipate import __version__
from anticipate.catalog import search_current_folder
from anticipate.errors import AnticipateError, ConfigError, mistake_behind
from anticipate.machine import keep_freed_memory, let_idle_threads_sleep
from anticipate.safe import VARIABLE

_TRAINING = "anticipate.training.lightning_cli:main"

COMMANDS = {
    "prepare": ("anticipate.datasets.prepare:main", "make one HDF5 file of a release"),
    "inspect": ("anticipate.datasets.inspect:main", "show what such a file holds, check its sums"),
    "fit": (_TRAINING, "train an experiment, then test its last checkpoint"),
    "validate": (_TRAINING, "score a checkpoint on held-out training videos"),
    "test": (_TRAINING, "score a checkpoint by the protocol of its data set"),
    "predict": (_TRAINING, "write a checkpoint's predictions to one HDF5 file"),
    "convert": ("anticipate.lab.convert:main", "make a checkpoint of weights from other code"),
    "stream": (
        "anticipate.lab.stream:main",
        "show what a short-term model expects next along a video",
    ),
    "score": ("anticipate.protocol.score:main", "score any predictions file by the protocol"),
    "export": ("anticipate.protocol.challenge:main", "files for the EPIC-Kitchens challenge"),
    "sweep": ("anticipate.lab.sweep.sweep_command:main", "many experiments, splits and seeds"),
    "ablations": ("anticipate.lab.ablations:main", "sweep the studies of the papers, and report"),
    "explain": ("anticipate.lab.explain.explain_command:main", "what a trained network does"),
    "report": ("anticipate.lab.report.report_command:main", "tables, figures, verdicts of runs"),
    "evidence": (
        "anticipate.lab.evidence.evidence_command:main",
        "check the papers' claims without real features",
    ),
    "benchmark": ("anticipate.lab.benchmark.benchmark_command:main", "measure speed and memory"),
    "demo": ("anticipate.lab.demo:main", "train, sample and score MixANT on synthetic data"),
}
"""Name of each command, the function that runs it, and its line in the help."""


def usage() -> str:
    """Return the text of `anticipate --help`."""
    rows = "\n".join(f"  {name:<10} {help_}" for name, (_, help_) in COMMANDS.items())
    return (
        "usage: anticipate COMMAND [options]\n\n"
        "Action anticipation in video: train, sample, score and explain.\n\n"
        f"commands:\n{rows}\n\n"
        "anticipate COMMAND --help lists the options of a command.\n"
        "anticipate --safe COMMAND imports no code that settings name, but known classes.\n"
    )


def main(argv: list[str] | None = None) -> None:
    """Run one command; exit with code 2 and one line on stderr when the user made a mistake.

    Args:
        argv: The words after `anticipate`; those of the process when None.
    """
    argv = _without_safe(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        sys.stdout.write(usage())
        return
    if argv[0] == "--version":
        sys.stdout.write(f"anticipate {__version__}\n")
        return
    try:
        _run(argv)
    except AnticipateError as error:
        sys.stderr.write(f"anticipate: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("anticipate: interrupted\n")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except Exception as error:
        mistake = mistake_behind(error)
        if mistake is None:
            raise
        sys.stderr.write(f"anticipate: {mistake}\n")
        sys.exit(2)


def _without_safe(argv: list[str]) -> list[str]:
    """Switch safe mode on where the words ask for it; processes that this one starts inherit it."""
    if "--safe" in argv:
        os.environ[VARIABLE] = "1"
    return [word for word in argv if word != "--safe"]


def _run(argv: list[str]) -> None:
    if argv[0] not in COMMANDS:
        near = difflib.get_close_matches(argv[0], COMMANDS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(COMMANDS)}"
        raise ConfigError(f"unknown command '{argv[0]}': {hint}")
    keep_freed_memory()
    let_idle_threads_sleep()
    search_current_folder()
    module, _, function = COMMANDS[argv[0]][0].partition(":")
    getattr(import_module(module), function)(argv)
