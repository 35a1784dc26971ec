"""What a run folder holds, from an empty one to a finished run."""

import json
from pathlib import Path
from typing import Any, Literal

import yaml

from anticipate.errors import RunExistsError
from anticipate.files import CHECKPOINT, CONFIG, SAME_AS, tested, write_whole
from anticipate.training.settings import Settings, differences, flatten, read_yaml

Stage = Literal["new", "begun", "finished"]
"""`new`: nothing that a training would lose; `begun`: can be resumed; `finished`: was tested."""

LOG = "sweep.log"


def stage_of(folder: Path, settings: Settings) -> Stage:
    """Return how far the run in a folder came.

    Args:
        folder: Run folder; it may be missing, empty, or hold a training without any weights yet.
        settings: What the run's experiment says now.

    Raises:
        RunExistsError: The folder holds a run with other settings, or remains of one.
    """
    trained = (folder / CHECKPOINT).is_file()
    if not (trained or tested(folder)):
        return "new"
    _check_settings(folder, settings)
    return "finished" if tested(folder) else "begun"


def clear_beginning(folder: Path) -> None:
    """Make a folder without weights ready for a training from its first epoch on."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SAME_AS).unlink(missing_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)


def share_results(folder: Path, other: Path, run_dir: Path) -> None:
    """Note in a run folder that another run, of equal settings, has its results."""
    clear_beginning(folder)
    document = {"same_as": str(other.relative_to(run_dir))}
    write_whole(folder / SAME_AS, json.dumps(document) + "\n")


def shared_results(folder: Path, settings: Settings, run_dir: Path) -> Path | None:
    """Return the finished run of equal settings that a folder names as its own; None without one.

    Args:
        folder: Run folder.
        settings: What the run's experiment says now.
        run_dir: Folder of all runs.
    """
    try:
        other = run_dir / json.loads((folder / SAME_AS).read_text())["same_as"]
        saved = read_yaml((other / CONFIG).read_text())
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None  # no link, or one that leads nowhere: the run is trained
    if not tested(other) or not isinstance(saved, dict):
        return None
    return other if set(differences(flatten(saved), settings)) <= {"run_name"} else None


def _check_settings(folder: Path, settings: Settings) -> None:
    config = folder / CONFIG
    again = f"remove {folder} to train it again"
    if not config.is_file():
        raise RunExistsError(f"{folder} holds a run without its config.yaml: {again}")
    try:
        saved = read_yaml(config.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunExistsError(f"{config} is not valid YAML: {again}") from error
    if not isinstance(saved, dict):
        raise RunExistsError(f"{config} holds no settings: {again}")
    before: dict[str, Any] = flatten(saved)
    keys = differences(before, settings)
    if keys:
        key = keys[0]
        more = f" and {len(keys) - 1} more settings" if len(keys) > 1 else ""
        raise RunExistsError(
            f"{folder} holds a run with {key}={before.get(key)}, the experiment now says "
            f"{settings.get(key)}{more}: choose another run_name or --run-dir, or {again}"
        )
