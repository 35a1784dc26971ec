"""Safe mode: settings of other people are read without importing code other than known classes.

Files of settings name classes by import path, and importing a module runs it. So settings and run
folders of others are code; checkpoints, features, predictions and reports are not.
"""

import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any

from anticipate.errors import ConfigError

VARIABLE = "ANTICIPATE_SAFE"
"""Environment variable that switches safe mode on, as `--safe` does."""

OPEN_MODULES = ("anticipate.", "torch.optim.")
"""How the paths of classes begin that safe mode allows .."""
KNOWN_CLASSES = frozenset(
    {
        *(f"lightning.pytorch.loggers.{name}" for name in ("CSVLogger", "TensorBoardLogger")),
        "lightning.pytorch.callbacks.EarlyStopping",
        "lightning.pytorch.callbacks.LearningRateMonitor",
        "lightning.pytorch.callbacks.ModelCheckpoint",
        "lightning.pytorch.callbacks.RichProgressBar",
        "lightning.pytorch.callbacks.Timer",
        "lightning.pytorch.callbacks.TQDMProgressBar",
    }
)
""".. and the others, by their public path."""

PACKAGES = ("anticipate", "lightning", "torch")
"""Packages that may be imported to see which of their classes is named."""

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def is_safe() -> bool:
    """Return whether safe mode is on."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


def check_importable(path: str) -> None:
    """See that safe mode, where it is on, allows to import what a path names.

    Raises:
        ConfigError: It does not.
    """
    if is_safe() and not path.startswith(OPEN_MODULES) and path not in KNOWN_CLASSES:
        raise ConfigError(
            f"{path}: not imported in safe mode, which allows classes of anticipate, optimizers of "
            "torch, and some loggers and callbacks of Lightning; without --safe it runs the code "
            "of its module"
        )


def check_settings(settings: Any) -> None:
    """See that safe mode, where it is on, allows the modules that unread settings would import.

    Args:
        settings: Values as a file or a command line gives them.

    Raises:
        ConfigError: A value is the import path of something in another package.
    """
    for key, value in _texts(settings) if is_safe() else ():
        package = value.partition(".")[0]
        names_code = _IMPORT_PATH.fullmatch(value) and package not in PACKAGES
        if names_code and (key == "class_path" or find_spec(package)):
            check_importable(value)


def check_classes(config: Any) -> None:
    """See that safe mode, where it is on, allows all classes of settings that were read.

    Args:
        config: Settings, in which each class is a mapping with `class_path`.

    Raises:
        ConfigError: One is not allowed, under whatever name it was given.
    """
    known = {id(resolve_name(path)) for path in KNOWN_CLASSES} if is_safe() else set()
    for key, path in _texts(config) if is_safe() else ():
        found = resolve_name(path) if key == "class_path" else None
        if found is not None and id(found) not in known:
            check_importable(f"{found.__module__}.{found.__qualname__}")


def _texts(settings: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield all texts of nested settings with their keys."""
    if isinstance(settings, str):
        yield key, settings
    elif isinstance(settings, dict):
        for name, value in settings.items():
            yield from _texts(value, str(name))
    elif isinstance(settings, list):
        for value in settings:
            yield from _texts(value, key)
