"""What a checkpoint was trained on, and whether it may be used on other data.

A test on another split, or on another file, scores videos that the model may have been trained on.
So a checkpoint carries a record of its data, and whoever takes its weights compares.
"""

from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.pytorch.callbacks import Callback

from anticipate import __version__
from anticipate.catalog import find
from anticipate.console import notice
from anticipate.datasets.batches.file_module import FileDataModule
from anticipate.errors import CheckpointError
from anticipate.files import CONFIG
from anticipate.training.settings import flatten, read_yaml

KEY = "training_data"
"""Key of the record in a checkpoint."""

COMPARED = ("dataset", "split", "classes", "streams", "feature_dim", "identity")
"""What has to be equal; sample rate, seed and version are recorded alone."""

UNKNOWN = "training data unknown"
"""What results say of a checkpoint without a record and without settings next to it."""

NAMES = {"dataset": "data set", "classes": "classes", "feature_dim": "features of width"}
"""What messages call a part of the record, where not by its own name."""


def describe(data: FileDataModule) -> dict[str, Any]:
    """Return the record of a data module, plain values alone.

    `identity` is that of `DataFile.identity`: files of equal content have equal ones.
    """
    return {
        "dataset": data.dataset,
        "identity": data.store.identity,
        "split": str(data.split),
        "classes": list(data.vocabulary),
        "streams": list(getattr(data, "stream_dims", ())),
        "feature_dim": data.feature_dim,
        "sample_rate": getattr(data, "sample_rate", None),
        "seed": data.seed,
        "version": __version__,
    }


class DataRecord(Callback):
    """Writes into every checkpoint what it was trained on; knows the caveat of the one in use."""

    caveat = ""
    """What results of the loaded checkpoint have to carry; empty for those of its own data."""

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the record, and leave out facts of the data that no checkpoint may hold.

        Lightning keeps what a model was built with, facts of the data included. Those that are
        tuples with names could not be read again without running code.
        """
        data = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, FileDataModule):
            checkpoint[KEY] = describe(data)
        built_with = checkpoint.get(pl_module.CHECKPOINT_HYPER_PARAMS_KEY, {})
        for name in [name for name, fact in built_with.items() if hasattr(fact, "_fields")]:
            del built_with[name]


def caveat(trainer: pl.Trainer) -> str:
    """Return the caveats of the data and the checkpoint that a trainer uses; empty without any."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    record = next((one.caveat for one in callbacks if isinstance(one, DataRecord)), "")
    data = trainer.datamodule  # type: ignore[attr-defined]
    return "; ".join(filter(None, (getattr(data, "caveat", ""), record)))


def add_foreign_option(parser: ArgumentParser) -> None:
    """Declare `--allow_foreign_checkpoint`, which is written as for `anticipate test`."""
    parser.add_argument(
        "--allow_foreign_checkpoint",
        nargs="?",
        const=True,
        default=False,
        type=lambda word: {"true": True, "false": False}.get(word, word),
        choices=(True, False),
        help="accept a checkpoint of other data, and mark its results",
    )


def figure_note(synthetic: bool, caveat: str) -> str:
    """Return what every figure of results has to say; may be empty.

    Args:
        synthetic: Whether the features are.
        caveat: That of the checkpoint; its details are left to the numbers.
    """
    marks = ("synthetic features" if synthetic else "", caveat.partition(":")[0])
    return ", ".join(filter(None, marks))


def check_provenance(
    path: Path,
    content: Mapping[str, Any],
    data: pl.LightningDataModule,
    allow_foreign: bool,
    **own: Any,
) -> str:
    """Compare what a checkpoint was trained on with the data that it shall be used on.

    Args:
        path: The checkpoint; without a record, the `config.yaml` of its run is looked at.
        content: What it holds.
        data: The data.
        allow_foreign: Whether other data are accepted.
        **own: Parts of the record of the data that are to be compared instead of theirs.

    Returns:
        Caveat that results have to carry; empty where the data are those of the training.

    Raises:
        CheckpointError: The data are others, and that is not allowed.
    """
    if not isinstance(data, FileDataModule):
        return UNKNOWN
    recorded = content.get(KEY) or _from_settings(path)
    if not recorded:
        notice(f"{path}: {UNKNOWN}: no record in it and no {CONFIG} of its run")
        return UNKNOWN
    differences = _differences(recorded, describe(data) | own)
    if not differences:
        return ""
    text = "; ".join(differences)
    if not allow_foreign:
        raise CheckpointError(
            f"{path} was trained on other data: {text}; use the data of its training, or accept "
            "marked results with --allow_foreign_checkpoint true (from Python: allow_foreign=True)"
        )
    notice(f"{path}: foreign checkpoint: {text}")
    return f"foreign checkpoint: {text}"


def _differences(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Say where two records differ; what one does not have, as names of streams, is no difference.

    Streams without names are those of a file made before there were any.
    """
    return [
        _difference(key, recorded[key], here[key])
        for key in COMPARED
        if recorded.get(key) and here[key] and recorded[key] != here[key]
    ]


def _difference(key: str, trained: Any, here: Any) -> str:
    name = NAMES.get(key, key)
    if key == "identity":
        return "another data file (its checksums, classes or splits differ)"
    if key == "streams":
        return f"{name} {', '.join(trained)}, here {', '.join(here)}"
    if key != "classes":
        return f"{name} {trained}, here {here}"
    if len(trained) != len(here):
        return f"{len(trained)} classes, here {len(here)}"
    place = next(n for n, pair in enumerate(zip(trained, here, strict=True)) if len({*pair}) > 1)
    return f"class {place} is '{trained[place]}', here '{here[place]}'"


def _from_settings(path: Path) -> dict[str, Any]:
    """Return what the settings of a run say about its data: data set and split."""
    for folder in (path.parent, path.parent.parent):
        file = folder / CONFIG
        if file.is_file():
            try:
                settings = flatten(read_yaml(file.read_text()) or {})
            except (yaml.YAMLError, UnicodeDecodeError, AttributeError):
                return {}
            offer = find(str(settings.get("data.class_path", "")).rpartition(".")[2])
            known = {} if offer is None else {"dataset": offer.facts.get("dataset")}
            split = settings.get("data.init_args.split", 1)
            return {**known, "split": str(split)}
    return {}
