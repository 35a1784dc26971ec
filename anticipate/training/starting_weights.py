"""Chains of runs: one that starts from the weights of runs before it, or observes with one.

`init_from: NAME` means the run of that name in the same folder of runs, split and seed; a mapping
names one for each branch of a fusion, by its stream. `model.observation` may be such a name, too.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl

from anticipate.errors import ConfigError
from anticipate.files import CHECKPOINT, SAME_AS, check_name, run_folder, tested
from anticipate.models.segment_anticipator import GROUND_TRUTH, observer_of
from anticipate.training.checkpoints import load_weights, read_checkpoint
from anticipate.training.provenance import check_provenance
from anticipate.training.settings import Settings

SETTING = "init_from"


class Place(NamedTuple):
    """Where a run lies, apart from its name."""

    run_dir: Path
    split: int
    seed: int

    def folder(self, name: str) -> Path:
        """Return the folder of a run of that name.

        Raises:
            ConfigError: A name that no run can have.
        """
        for part in name.split("/"):
            check_name(part, f"run '{name}': a folder of it", ConfigError)
        return run_folder(self.run_dir, name, self.split, self.seed)

    def results(self, name: str) -> Path:
        """Return the folder that has the results of a run of that name.

        Raises:
            ConfigError: A name that no run can have.
        """
        return results_of(self.folder(name), self.run_dir)


def runs_before(settings: Settings) -> tuple[str, ...]:
    """Return the names of the runs that a run needs: it starts from their weights or observes.

    Args:
        settings: Those of the run, by dotted key.
    """
    keys = (key for key in settings if key == SETTING or key.startswith(f"{SETTING}."))
    names = [settings[key] for key in keys]
    if settings.get("model.class_path") == "anticipate.SegmentAnticipator":
        observer = observer_of(str(settings.get("model.init_args.observation", GROUND_TRUTH)))
        names += [] if observer is None or observer.exists() else [str(observer)]
    return tuple(dict.fromkeys(names))


def results_of(folder: Path, run_dir: Path) -> Path:
    """Return a run folder or, where a sweep has noted one, that of the run of equal settings."""
    try:
        return run_dir / str(json.loads((folder / SAME_AS).read_text())["same_as"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder


def finished(folder: Path, run_dir: Path) -> bool:
    """Return whether a run, or that of equal settings in its place, has been tested."""
    return tested(results_of(folder, run_dir))


def start(
    model: pl.LightningModule, data: Any, init_from: str | Mapping[str, str], place: Place
) -> None:
    """Give a model the weights that its training starts from.

    Args:
        model: The model; its `branches`, where it has them, are what a mapping names, by stream.
        data: Its data, those of the earlier runs, too, split included.
        init_from: Name of a run, or of one for each branch.
        place: Where the runs are.

    Raises:
        ConfigError: A run is missing or not finished, or other branches are named.
        CheckpointError: Its weights are of other sizes, or were trained on other data.
    """
    if isinstance(init_from, str):
        path = _checkpoint(init_from, place)
        content = read_checkpoint(path)
        check_provenance(path, content, data, allow_foreign=False)
        load_weights(path, content, model)
        return
    branches = getattr(model, "branches", {})
    if list(init_from) != list(branches):
        found = f"branches {', '.join(branches)}" if branches else "no branches: name one run"
        raise ConfigError(
            f"{SETTING} names runs for {', '.join(init_from)}, but the model has {found}"
        )
    for stream, name in init_from.items():
        path, width = _checkpoint(name, place), data.stream_dims[stream]
        content, own = read_checkpoint(path), {"streams": [stream], "feature_dim": width}
        check_provenance(path, content, data, allow_foreign=False, **own)
        load_weights(path, content, branches[stream], prefix="network.")


def _checkpoint(name: str, place: Place) -> Path:
    folder = place.folder(name)
    if not finished(folder, place.run_dir):
        state = "is not finished" if (folder / CHECKPOINT).is_file() else "is missing"
        raise ConfigError(
            f"{SETTING} names the run '{name}', but {folder} {state}: train it first, or let "
            "anticipate sweep train all experiments of the chain in order"
        )
    return place.results(name) / CHECKPOINT
