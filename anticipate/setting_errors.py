"""Messages about settings: jsonargparse's, cut down to the line that tells the mistake."""

import difflib
import inspect
import re
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module

CHATTER = ("Union subtypes", "Subtypes:", "Errors:", "<class 'NoneType'>", "Given value")
"""Lines of jsonargparse's messages that tell its own workings instead of the mistake."""

_UNKNOWN_OPTION = re.compile(r"unrecognized arguments: --([^\s=]+)|not accept option '(.+?)'")
_UNKNOWN_ARGUMENT = re.compile(r"Option '(.+?)' is not accepted")
_UNKNOWN_CLASS = re.compile(r"Expected a dot import path string: (\S+)")
_KEY = re.compile(r'Parser key "(.+?)"')
_CLASS = re.compile(r"class_path[ =]'([\w.]+)'")


def explain(message: str, options: Iterable[str], classes: Sequence[str]) -> str:
    """Return what is wrong with a setting, with the nearest name where one is unknown.

    Args:
        message: What jsonargparse says.
        options: Names of the command's options.
        classes: Names of classes that files may use without their module.
    """
    place = ".".join(_KEY.findall(message))
    if unknown := _UNKNOWN_OPTION.search(message):
        name = unknown[1] or unknown[2]
        return f"no setting '{name}'{_near(name, list(options))}"
    if unknown := _UNKNOWN_ARGUMENT.search(message):
        known = [name for path in _CLASS.findall(message) for name in _arguments(path)]
        return f"{place} has no setting '{unknown[1]}'{_near(unknown[1], known)}"
    if unknown := _UNKNOWN_CLASS.search(message):
        return f"{place}: no class or file '{unknown[1]}'{_near(unknown[1], classes)}"
    lines = (line for line in message.splitlines() if not any(c in line for c in CHATTER))
    return "\n".join(lines).strip()


def option_names(parser: ArgumentParser) -> Iterator[str]:
    """Yield the names of all options of a parser and of its commands."""
    for action in parser._actions:
        yield action.dest
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                yield from option_names(command)


def _near(name: str, known: Sequence[str]) -> str:
    if near := difflib.get_close_matches(name, known, n=1):
        return f": did you mean '{near[0]}'?"
    some = sorted(set(known)) if len(set(known)) <= 40 else []
    return f"; there are: {', '.join(some)}" if some else ""


def _arguments(path: str) -> list[str]:
    """Return the names of a class's arguments, and of the keys around them in a file."""
    module, _, name = path.rpartition(".")
    parameters = inspect.signature(getattr(import_module(module), name)).parameters
    return [*parameters, "class_path", "init_args"]
