"""The experiment files of a sweep, and the profiles that make them smaller."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from anticipate.config_chain import config_chain
from anticipate.errors import ConfigError


class Experiment(NamedTuple):
    """One experiment file."""

    path: Path
    configs: tuple[Path, ...]
    """Files that `--config` gets, in this order."""


def find_experiments(paths: Sequence[Path], profile: str | None = None) -> list[Experiment]:
    """Return the experiments of files and folders, those of a folder by name, its files first.

    Args:
        paths: YAML files, and folders that are searched with all folders in them.
        profile: Name of the profile that every file is made smaller by; None for none.

    Raises:
        ConfigError: Nothing there, no YAML file, or a file that no such profile is made for.
    """
    files = list(dict.fromkeys(file for path in paths for file in _files(path)))
    return [Experiment(file, _configs(file, profile)) for file in files]


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ConfigError(f"no file or folder {path}: name experiments (*.yaml) or their folder")
    found = [file for file in path.rglob("*.yaml") if file.parent.name != "profiles"]
    if not found:
        raise ConfigError(f"no experiments (*.yaml) in {path}")
    return sorted(found, key=lambda file: (len(file.relative_to(path).parts), file))


def _configs(file: Path, profile: str | None) -> tuple[Path, ...]:
    if profile is None:
        return (file,)
    root, smaller = _root_with_profile(file, profile)
    # A file that was read already is not read again: a profile stands between root and point.
    return (root, smaller) if root == file.resolve() else (root, smaller, file)


def _root_with_profile(file: Path, profile: str) -> tuple[Path, Path]:
    """Return the nearest ancestor that has the profile, `profiles/<its name>_<profile>.yaml`."""
    chain = config_chain(file)
    for ancestor in reversed(chain):
        for folder in ancestor.parents:
            smaller = folder / "profiles" / f"{ancestor.stem}_{profile}.yaml"
            if smaller.is_file():
                return ancestor, smaller
    names = ", ".join(f"{ancestor.stem}_{profile}.yaml" for ancestor in reversed(chain))
    raise ConfigError(f"{file} has no profile '{profile}': no {names} in a folder 'profiles'")
