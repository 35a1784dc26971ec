"""Entry point `anticipate COMMAND ...`: looks a command up and imports it only then.

Nothing heavy is imported here, so that `anticipate --help` and typing mistakes answer at once.
"""

import difflib
import sys
from importlib import import_module

from anticipate import __version__
from anticipate.errors import AnticipateError, ConfigError
from anticipate.machine import keep_freed_memory

COMMANDS = {
    "prepare": ("anticipate.data.prepare:main", "make one HDF5 file of a release"),
    "inspect": (
        "anticipate.data.inspect:main",
        "show what such a file holds, verify its checksums",
    ),
    "fit": ("anticipate.training:main", "train an experiment, then test its last checkpoint"),
    "validate": ("anticipate.training:main", "score a checkpoint on held-out training videos"),
    "test": ("anticipate.training:main", "score a checkpoint by the protocol of its data set"),
    "predict": ("anticipate.training:main", "write a checkpoint's predictions to one HDF5 file"),
    "convert": ("anticipate.convert:main", "make a checkpoint of weights from other code"),
    "stream": ("anticipate.stream:main", "show what AGA expects next along a video, step by step"),
    "score": ("anticipate.score.command:main", "score anybody's predictions file by the protocol"),
    "export": (
        "anticipate.export.command:main",
        "write and check files for the EPIC-Kitchens challenge",
    ),
    "sweep": ("anticipate.sweep:main", "train many experiments, splits and seeds; mean and spread"),
    "explain": ("anticipate.explain.command:main", "show what a trained network does"),
    "report": ("anticipate.report.command:main", "tables, figures and verdicts from runs"),
    "benchmark": ("anticipate.benchmark:main", "measure speed and memory beside other ways"),
    "demo": ("anticipate.demo:main", "train, sample and score MixANT on synthetic data"),
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
    )


def main(argv: list[str] | None = None) -> None:
    """Run one command; exit with code 2 and one line on stderr when the user made a mistake.

    Args:
        argv: The words after `anticipate`; those of the process when None.
    """
    argv = sys.argv[1:] if argv is None else argv
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


def _run(argv: list[str]) -> None:
    if argv[0] not in COMMANDS:
        near = difflib.get_close_matches(argv[0], COMMANDS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(COMMANDS)}"
        raise ConfigError(f"unknown command '{argv[0]}': {hint}")
    keep_freed_memory()
    module, _, function = COMMANDS[argv[0]][0].partition(":")
    getattr(import_module(module), function)(argv)
