"""The experiment files of a sweep."""

from collections.abc import Sequence
from pathlib import Path

from anticipate.errors import ConfigError
from anticipate.lab.studies import STUDY_FILE
from anticipate.training.settings import find_file

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
