"""`anticipate fit | validate | test | predict`: LightningCLI, its traps closed.

Settings come from YAML files and the command line alone, never from a checkpoint. A run lives in
`<run_dir>/<run_name>/split_<k>/seed_<n>`; `fit` ends with a test of the last checkpoint.
LightningCLI builds what the settings say; the commands are methods here, so that all of them, and
`training.loading`, which only reads or builds, share one parser.
"""

import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NoReturn

import lightning.pytorch as pl
import torch
import yaml
from jsonargparse import Namespace
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins import CheckpointIO
from lightning.pytorch.utilities.seed import isolate_rng

from anticipate import __version__
from anticipate.catalog import offers, search_current_folder
from anticipate.console import notice
from anticipate.datasets.batches.dense_module import DenseDataModule
from anticipate.datasets.batches.short_term_module import ShortTermDataModule
from anticipate.errors import AnticipateError, ConfigError
from anticipate.files import CHECKPOINT, CONFIG, check_name
from anticipate.models.dense_anticipator import DenseAnticipator
from anticipate.models.diffusion_anticipator import DiffusionAnticipator
from anticipate.models.short_term_anticipator import ShortTermAnticipator
from anticipate.safe import check_classes
from anticipate.training import starting_weights
from anticipate.training.callbacks.dashboard import Dashboard
from anticipate.training.callbacks.dense_results import DenseResults
from anticipate.training.callbacks.efficiency import Efficiency
from anticipate.training.callbacks.expert_usage import ExpertUsage
from anticipate.training.callbacks.forecast_figures import ForecastFigures
from anticipate.training.callbacks.run_files import SaveRunConfig, refuse_existing_run
from anticipate.training.callbacks.short_term_results import ShortTermResults
from anticipate.training.callbacks.write_predictions import PredictionsFile
from anticipate.training.checkpoints import WholeCheckpointIO, check_fits, read_checkpoint
from anticipate.training.provenance import DataRecord, check_provenance
from anticipate.training.resuming import check_resume, check_something_left, note_resume
from anticipate.training.run_lock import RunLock
from anticipate.training.settings import (
    FILE_KEYS,
    YAML_MODE,
    check_sections,
    expand,
    explain,
    option_names,
)
from anticipate.training.starting_weights import Place

PARTS = ("data", "model")

PRECISIONS = ("32-true", "32", "bf16-mixed", "16-mixed")
"""The weights stay float32: diffusion schedules and averages are tried with nothing else."""

HINTS = ("Tip:", "💡", "to estimate number of stepping batches")
"""What messages of Lightning contain that a user cannot act on."""

TASKS = {
    "dense anticipation": (DenseDataModule, DenseAnticipator),
    "short-term anticipation": (ShortTermDataModule, ShortTermAnticipator),
}
"""Data sets and the models that can learn from them."""

KNOWN_PACKAGES = {"anticipate", "torch", "torchmetrics"}
"""Packages of the parts of the models that come with anticipate."""

FROM_DATA = (
    *("num_classes", "feature_dim"),
    *("sample_rate", "obs_ratios", "pred_ratios"),  # dense
    *("protocol", "class_counts", "grid", "stream_dims"),  # short-term
)
"""Facts that models are built with, where the data has them and the model takes them."""


def main(argv: list[str]) -> None:
    """Run one of Lightning's commands.

    Args:
        argv: The command and its options.

    Raises:
        AnticipateError: Any mistake of the user.
    """
    _quieten_lightning()
    command, *words = argv
    cli = AnticipateCLI(words, command)
    getattr(cli, command)()


class Parser(LightningArgumentParser):
    """A parser whose errors are the few lines that matter."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Report a mistake; inner parsers keep raising, for unions try one type after another."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise ConfigError(explain(message, option_names(self), short_names()))


class EpochLines(Callback):
    """Says `epoch 3/50` after each epoch where no progress bar shows it: in logs of sweeps."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the line, once for all processes."""
        if trainer.is_global_zero and trainer.progress_bar_callback is None:
            notice(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")


class AnticipateCLI(LightningCLI):
    """LightningCLI with run folders, links from data to model, and errors in one line.

    Args:
        words: Files and settings, as on the command line.
        command: Which command they are for: `fit`, `validate`, `test` or `predict`.
        **options: More options of LightningCLI.
    """

    def __init__(self, words: Sequence[str], command: str = "fit", **options: Any) -> None:
        self.command, self.record, self.lock = command, DataRecord(), RunLock()
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            parser_class=Parser,
            parser_kwargs={
                "allow_abbrev": False,
                "prog": f"anticipate {command}",
                "description": "Train and use models.",
                "version": __version__,
                "parser_mode": YAML_MODE,
            },
            trainer_defaults={"callbacks": [EpochLines(), self.record, self.lock]},
            auto_configure_optimizers=False,
            save_config_callback=SaveRunConfig,
            args=list(words),
            run=False,
            **options,
        )

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the seed, which names the run folder: unlike Lightning's it cannot be left open."""
        parser.add_argument("--seed_everything", type=int, default=0, help="Seed of the run.")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add our options, links and defaults."""
        add = parser.add_argument
        add("--extends", type=list[str] | str | None, default=None, help="Parents of this file.")
        add("--profiles", type=dict[str, str] | None, default=None, help="Files of profiles.")
        add("--profile", type=str | None, default=None, help="Profile to apply, such as demo.")
        add("--run_name", type=str, default="unnamed", help="Folder of the run.")
        add("--run_dir", type=str, default="runs", help="Folder of all runs.")
        add(
            "--init_from",
            type=str | dict[str, str] | None,
            default=None,
            help="Run whose weights the training starts from, or one for each branch of a fusion.",
        )
        add("--ckpt_path", type=str | None, default=None, help="Checkpoint file, or: last.")
        add(
            "--allow_foreign_checkpoint",
            type=bool,
            default=False,
            help="Accept a checkpoint of other data, and mark its results.",
        )
        self._add_callbacks(parser)
        self._link(parser)
        logger = "lightning.pytorch.loggers.TensorBoardLogger"
        parser.set_defaults(
            {
                "trainer.logger": {"class_path": logger, "init_args": {"default_hp_metric": False}},
                "trainer.use_distributed_sampler": False,  # our samplers share out the data
                "trainer.num_sanity_val_steps": 0,  # sampling futures is no quick check
                "trainer.log_every_n_steps": 10,
            }
        )

    def _add_callbacks(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.filename": "last",  # one file, replaced after every epoch:
                "checkpoint.enable_version_counter": False,  # none is chosen by its scores
            }
        )
        parser.add_lightning_class_args(Efficiency, "efficiency")
        parser.add_lightning_class_args(DenseResults, "dense_results")
        parser.add_lightning_class_args(ShortTermResults, "short_term_results")
        parser.add_lightning_class_args(ForecastFigures, "figures")
        parser.add_lightning_class_args(ExpertUsage, "expert_usage")
        parser.add_lightning_class_args(PredictionsFile, "predictions")
        parser.add_lightning_class_args(Dashboard, "dashboard")

    def _link(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("run_dir", "trainer.logger.init_args.save_dir")
        parser.link_arguments(
            ("run_name", "data.init_args.split"),
            "trainer.logger.init_args.name",
            compute_fn=lambda name, split: f"{name}/split_{split}",
        )
        parser.link_arguments(
            "seed_everything", "trainer.logger.init_args.version", compute_fn="seed_{}".format
        )
        for part in PARTS:
            parser.link_arguments("seed_everything", f"{part}.init_args.seed")
        for name in FROM_DATA:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read files and words."""
        self.config = parse(parser, args)

    def before_instantiate_classes(self) -> None:
        """See that the model can learn from the data, in a precision that is tried and tested."""
        check_task(self.config)
        precision = self.config.trainer.precision
        if precision is not None and str(precision) not in PRECISIONS:
            raise ConfigError(
                f"trainer.precision is {precision}: expected one of {', '.join(PRECISIONS)}"
            )

    def instantiate_classes(self) -> None:
        """Build data, model and trainer, and load the run that a model of labels observes with."""
        from anticipate.training.loading import load_observer  # it reads runs by our parser

        with own_errors():
            super().instantiate_classes()
        load_observer(self.model, self.datamodule, Path(self.config.run_dir))

    def instantiate_trainer(self, **settings: Any) -> pl.Trainer:
        """Build the trainer, whose checkpoints are written whole or not at all."""
        plugins = self.config_init.trainer.plugins or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        own = any(isinstance(plugin, CheckpointIO) for plugin in plugins)
        settings["plugins"] = plugins if own else [*plugins, WholeCheckpointIO()]
        return super().instantiate_trainer(**settings)

    def fit(self) -> None:
        """Train, then test the last checkpoint.

        Raises:
            RunExistsError: The run folder already holds a run that is not to be resumed, or
                another process trains in it.
            ConfigError: The memory of the GPU does not suffice.
        """
        try:
            self._fit()
        except torch.OutOfMemoryError as error:
            raise ConfigError(
                "not enough GPU memory to train: lower data.init_args.batch_size, or set "
                "trainer.precision to bf16-mixed"
            ) from error
        finally:
            self.lock.release()

    def _fit(self) -> None:
        debugging = self.config.trainer.fast_dev_run
        if not debugging and self.config.ckpt_path is None:
            refuse_existing_run(self.trainer)
        start = None if self.config.ckpt_path is None else self._resume()
        if start is None and self.config.init_from:
            place = Place(Path(self.config.run_dir), self.datamodule.split, self.datamodule.seed)
            starting_weights.start(self.model, self.datamodule, self.config.init_from, place)
        self._check_forecast()
        try:
            self.trainer.fit(self.model, self.datamodule, ckpt_path=start)
        except SystemExit:  # Lightning's answer to Ctrl-C, after it has closed everything
            notice("to continue after the last epoch: the same command with --ckpt_path last")
            raise KeyboardInterrupt from None
        if not debugging:
            self.trainer.test(
                self.model, self.datamodule, ckpt_path=self._checkpoint("last"), verbose=False
            )

    def validate(self) -> None:
        """Score a checkpoint on held-out training videos; our own table shows the scores."""
        self._evaluate(self.trainer.validate, verbose=False)

    def test(self) -> None:
        """Score a checkpoint by the protocol of its data set."""
        self._evaluate(self.trainer.test, verbose=False)

    def predict(self) -> None:
        """Write the predictions of a checkpoint to a file."""
        self._evaluate(self.trainer.predict, return_predictions=False)

    def _check_forecast(self) -> None:
        """Check, before the training, that a user-defined model forecasts what can be scored.

        Sampling is no quick check: the diffusion model looks at its network while it trains.
        """
        model, modes = self.model, {part: part.training for part in self.model.modules()}
        ours = {type(part).__module__.partition(".")[0] for part in modes} <= KNOWN_PACKAGES
        if ours or not isinstance(model, DenseAnticipator | ShortTermAnticipator):
            return
        if type(model).forecast is DiffusionAnticipator.forecast:
            return
        model.to(self.trainer.strategy.root_device).eval()
        with isolate_rng(), torch.no_grad():
            for batch in islice(self.datamodule.test_dataloader(), 1):
                model.check_forecast(move_data_to_device(batch, model.device))
        for part, mode in modes.items():
            part.training = mode

    def _evaluate(self, run: Any, **options: Any) -> None:
        try:
            run(self.model, self.datamodule, ckpt_path=self._checkpoint(), **options)
        except SystemExit:
            raise KeyboardInterrupt from None

    def _resume(self) -> str:
        """Return the path of the checkpoint that the training continues from."""
        path = self._checkpoint()
        config = Path(path).parent.parent / CONFIG
        if config.is_file():
            settings = yaml.safe_load(self.parser.dump(self.config))
            changed = check_resume(config, settings, self.model)
            folder = Path(self.trainer.log_dir or ".")
            goes_on = (folder / CONFIG).is_file()
            least = 0 if goes_on else 1
            check_something_left(Path(path), self.config.trainer.max_epochs, least)
            if goes_on and self.trainer.is_global_zero:
                self.lock.acquire(folder)
                note_resume(folder, path, changed)
        return path

    def _checkpoint(self, name: str | None = None) -> str:
        """Return the path of a checkpoint that fits the model; by default the one asked for."""
        name = name or self.config.ckpt_path
        if name is None:
            raise ConfigError(f"{self.command} needs weights: add --ckpt_path FILE (or last)")
        path = Path(name)
        if name == "last":
            path = Path(self.trainer.log_dir or ".") / CHECKPOINT
        content = read_checkpoint(path)
        self.record.caveat = check_provenance(
            path, content, self.datamodule, self.config.allow_foreign_checkpoint
        )
        check_fits(path, content["state_dict"], self.model)
        return str(path)


def short_names() -> list[str]:
    """Import the classes that files may name without their module, and return their names."""
    names: list[str] = []
    for package in ("datasets", "models", "nn"):
        for name, offer in offers(package).items():
            import_module(offer.module)
            names.append(name)
    return names


def parse(parser: LightningArgumentParser, words: Sequence[str]) -> Namespace:
    """Return the settings of files and words, each file after its parents.

    Raises:
        ConfigError: A file or setting that cannot be used.
    """
    if "" in sys.path:
        search_current_folder()
    short_names()  # classes that are imported may be named without their module
    words = expand(words)
    check_sections(words, option_names(parser))
    config = parser.parse_args(words)
    check_classes(config.as_dict())
    for key in FILE_KEYS:
        config.pop(key, None)
    for part in config.run_name.split("/"):
        check_name(part, f"run_name '{config.run_name}': a folder of it", ConfigError)
    return config


def check_task(config: Namespace) -> None:
    """Compare what a data set is for with what a model does.

    Raises:
        ConfigError: The two are of different tasks.
    """
    data, model = (resolve_name(config[part].class_path) for part in PARTS)
    for task, (data_sets, models) in TASKS.items():
        if issubclass(data, data_sets) and not issubclass(model, models):
            raise ConfigError(
                f"{data.__name__} is a data set for {task}, and {model.__name__} is not a model "
                f"for that: name another model or other data"
            )


@contextmanager
def own_errors() -> Iterator[None]:
    """Let a mistake that is found while classes are built keep its own message."""
    try:
        yield
    except ValueError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, AnticipateError):
            raise cause from None
        raise


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Leave it to TensorBoard to raise in the main thread what its writing thread met."""
    if not isinstance(failure.exc_value, OSError):
        threading.__excepthook__(failure)


def _quieten_lightning() -> None:
    """Drop messages that a user cannot act on, or that are repeated elsewhere."""
    threading.excepthook = _thread_failed
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: not any(hint in record.getMessage() for hint in HINTS)
    )
    for message in (
        ".*Total length of `list` across ranks is zero.*",  # no validation videos, as asked
        ".*does not have many workers.*",  # reading one HDF5 file needs none on few cores
        ".*number of training batches.*smaller than the logging interval.*",
        ".*GPU available but not used.*",
        ".*`srun` command is available on your system but is not used.*",  # a run of our own
        ".*recommended to use `self.log\\(.*sync_dist=True.*",  # scores are sums over processes
        ".*WeightAveraging callback.*outside the 'fit' stage.*",
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ):
        warnings.filterwarnings("ignore", message)
