"""Model and data of a run: from settings, or from the folder that a training left."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities.seed import isolate_rng

from anticipate.datasets.batches.dense_module import DenseDataModule
from anticipate.errors import CheckpointError, ConfigError
from anticipate.files import CHECKPOINT, CONFIG
from anticipate.models.dense_anticipator import DenseAnticipator
from anticipate.models.segment_anticipator import SegmentAnticipator
from anticipate.training.checkpoints import load_weights, read_checkpoint
from anticipate.training.lightning_cli import (
    AnticipateCLI,
    check_task,
    own_errors,
    parse,
)
from anticipate.training.provenance import check_provenance
from anticipate.training.settings import Settings, flatten, read_yaml
from anticipate.training.starting_weights import Place

__all__ = ["load"]


class Experiment(NamedTuple):
    """What settings describe."""

    model: LightningModule
    data: LightningDataModule


def load(
    run: str | Path,
    data: str | Path | None = None,
    settings: Sequence[str] = (),
    allow_foreign: bool = False,
) -> Experiment:
    """Return the model of a run, ready for evaluation on the CPU, and its data.

    Settings files and run folders of others are code, as `class_path` imports modules: set
    ANTICIPATE_SAFE=1 to look at one. Checkpoints, features, predictions and reports are not.

    Args:
        run: Run folder, or a checkpoint in one or with a `config.yaml` next to it.
        data: Data file to read instead of the one named in the settings.
        settings: More settings, as on the command line; they replace those of the run.
        allow_foreign: Whether the data may be others than those of the training.

    Raises:
        CheckpointError: No checkpoint, a damaged one, none of its settings, or one that was
            trained on another data set, file or split.
        AnticipateError: Settings or data that cannot be used.
    """
    return load_marked(run, data, settings, allow_foreign)[0]


def load_marked(
    run: str | Path,
    data: str | Path | None = None,
    settings: Sequence[str] = (),
    allow_foreign: bool = False,
) -> tuple[Experiment, str]:
    """Return what `load` does, and the caveat that results have to carry; empty where none."""
    experiment, caveat = _load(run, data, settings, allow_foreign)
    load_observer(*experiment, _folder_of_runs(settings_file(_checkpoint(run))))
    return experiment, caveat


def load_observer(model: LightningModule, data: LightningDataModule, run_dir: Path) -> None:
    """Load the run that labels the observed part for a model of labels; others need none.

    Args:
        model: The model, which names the run.
        data: Its data.
        run_dir: Folder of all runs, for a run that is given by its name.

    Raises:
        ConfigError: The run is none, or its model sees other tokens or no features.
        CheckpointError: It was trained on another data set, file or split.
    """
    if not isinstance(model, SegmentAnticipator) or model.observer_run is None:
        return
    assert isinstance(data, DenseDataModule)
    run = _observer_run(model.observer_run, Place(run_dir, data.split, data.seed))
    (observer, its_data), _ = _load(run, data.path, [f"--data.split={data.split}"])
    if not isinstance(observer, DenseAnticipator) or isinstance(observer, SegmentAnticipator):
        raise ConfigError(
            f"observation {run} is a {type(observer).__name__}, which labels no frames: name a run "
            "of a dense model that sees features, such as MixANT"
        )
    assert isinstance(its_data, DenseDataModule)
    if its_data.sample_rate != data.sample_rate:
        raise ConfigError(
            f"observation {run} was trained with sample rate {its_data.sample_rate}, here it is "
            f"{data.sample_rate}: add --data.sample_rate {its_data.sample_rate}"
        )
    model.observe(observer)


def _observer_run(run: Path, place: Place) -> Path:
    """Return a run folder or checkpoint, also where it is given as the name of a run."""
    if run.exists():
        return run
    named = None if run.is_absolute() else place.results(str(run))
    if named is None or not named.is_dir():
        where = "" if named is None else f", or the name of a run: there is no {named}"
        raise ConfigError(
            f"observation is {run}: expected ground_truth, a predictions file (.h5), or an "
            f"existing run folder or checkpoint{where}"
        )
    return named


def _load(
    run: str | Path,
    data: str | Path | None,
    settings: Sequence[str],
    allow_foreign: bool = False,
) -> tuple[Experiment, str]:
    ckpt = _checkpoint(run)
    if not ckpt.is_file():
        raise CheckpointError(f"no checkpoint {ckpt}: train first with anticipate fit")
    file = [] if data is None else [f"--data.path={data}"]
    experiment = build(["--config", str(settings_file(ckpt)), *file, *settings])
    content = read_checkpoint(ckpt)
    caveat = check_provenance(ckpt, content, experiment.data, allow_foreign)
    load_weights(ckpt, content, experiment.model)
    experiment.model.eval()
    return experiment, caveat


def _checkpoint(run: str | Path) -> Path:
    return Path(run) / CHECKPOINT if Path(run).is_dir() else Path(run)


def _folder_of_runs(settings: Path) -> Path:
    """Return the folder of all runs, from where the `config.yaml` of one lies."""
    name = Path(str(read_yaml(settings.read_text()).get("run_name")))
    above = [*settings.resolve().parents]
    return above[min(len(name.parts) + 2, len(above) - 1)]


def settings_file(ckpt: Path) -> Path:
    """Return the configuration of the run that a checkpoint belongs to.

    Args:
        ckpt: `<run>/checkpoints/last.ckpt`, or a checkpoint with a `config.yaml` next to it.

    Raises:
        CheckpointError: Neither folder holds a `config.yaml`.
    """
    places = [folder / CONFIG for folder in (ckpt.parent, ckpt.parent.parent)]
    for place in places:
        if place.is_file():
            return place
    raise CheckpointError(
        f"the settings of {ckpt} are missing: expected {places[1]} or {places[0]}; "
        "keep a checkpoint in the folder of its run"
    )


def build(words: Sequence[str]) -> Experiment:
    """Return the model and the data that files and settings describe.

    No trainer is made, as one for the machine of the training might refuse this one. The weights
    follow from the seed; the random numbers of the caller are left as they are.

    Args:
        words: Files and settings, as `anticipate fit` takes them.

    Raises:
        AnticipateError: Settings or data that cannot be used.
    """
    parser = _parser()
    config = parse(parser, words)
    check_task(config)
    with isolate_rng(), own_errors():
        torch.manual_seed(config.seed_everything)
        built = parser.instantiate(config)
    return Experiment(built.model, built.data)


def read(words: Sequence[str]) -> Settings:
    """Return the settings that `anticipate fit` would run with.

    Args:
        words: Files and settings, as `anticipate fit` takes them.

    Raises:
        ConfigError: A file or setting that cannot be used.
    """
    parser = _parser()
    return flatten(yaml.safe_load(parser.dump(parse(parser, words))))


class _ParserOnly(AnticipateCLI):
    """The command line without a command: it makes the parser, and neither builds nor seeds."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = Namespace(seed_everything=False)

    def before_instantiate_classes(self) -> None:
        pass

    def instantiate_classes(self) -> None:
        pass


@cache
def _parser() -> LightningArgumentParser:
    return _ParserOnly([], load_from_checkpoint_support=False).parser
