"""`anticipate fit | validate | test | predict`: LightningCLI, its traps closed.

Settings come from YAML files and the command line alone, never from a checkpoint. A run lives in
`<run_dir>/<run_name>/split_<k>/seed_<n>`; `fit` ends with a test of the last checkpoint.
"""

import logging
import warnings
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NoReturn, TypeVar

from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from anticipate import __version__
from anticipate.callbacks.dashboard import Dashboard
from anticipate.callbacks.efficiency import Efficiency
from anticipate.callbacks.epoch_lines import EpochLines
from anticipate.callbacks.expert_usage import ExpertUsage
from anticipate.callbacks.figures import ForecastFigures
from anticipate.callbacks.predictions_file import PredictionsFile
from anticipate.callbacks.results import DenseResults
from anticipate.callbacks.run_files import SaveRunConfig, refuse_existing_run
from anticipate.callbacks.short_term_results import ShortTermResults
from anticipate.checkpoints import check_fits
from anticipate.config_chain import expand_extends
from anticipate.console import notice
from anticipate.errors import AnticipateError, ConfigError
from anticipate.registry import FROM_DATA, SHORT_NAMES, check_task
from anticipate.setting_errors import explain, option_names

PARTS = ("data", "model")

CommandLine = TypeVar("CommandLine", bound="AnticipateCLI")


def main(argv: list[str]) -> None:
    """Run one of Lightning's commands.

    Args:
        argv: The command and its options.

    Raises:
        AnticipateError: Any mistake of the user.
    """
    _quieten_lightning()
    command_line(AnticipateCLI, argv)


def command_line(kind: type[CommandLine], argv: list[str]) -> CommandLine:
    """Return a command line of one kind, after it has done its work.

    Args:
        kind: AnticipateCLI, or one that does less with the settings.
        argv: The command and its options.
    """
    return kind(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        parser_class=Parser,
        parser_kwargs={
            "allow_abbrev": False,
            "prog": "anticipate",
            "description": "Train and use models.",
            "version": __version__,
        },
        trainer_defaults={"callbacks": EpochLines()},
        seed_everything_default=0,
        auto_configure_optimizers=False,
        save_config_callback=SaveRunConfig,
        args=argv,
    )


class Parser(LightningArgumentParser):
    """A parser whose errors are the few lines that matter."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Report a mistake; inner parsers keep raising, for unions try one type after another."""
        if not self.exit_on_error:
            super().error(message, ex)
        names = [kind.__name__ for kind in SHORT_NAMES]
        raise ConfigError(explain(message, option_names(self), names))


class AnticipateCLI(LightningCLI):
    """LightningCLI with run folders, links from data to model, and errors in one line."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add our options, links and defaults to each command."""
        parser.add_argument(
            "--extends", type=list[str] | str | None, default=None, help="Parents of this file."
        )
        parser.add_argument("--run_name", type=str, default="unnamed", help="Folder of the run.")
        parser.add_argument("--run_dir", type=str, default="runs", help="Folder of all runs.")
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
        parser.add_lightning_class_args(DenseResults, "results")
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
            "seed_everything", "trainer.logger.init_args.version", compute_fn=_seed_folder
        )
        for part in PARTS:
            parser.link_arguments("seed_everything", f"{part}.init_args.seed")
        for name in FROM_DATA:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command line, each file after its parents."""
        self.config = parser.parse_args(expand_extends(args))
        self.config[self.config.subcommand].pop("extends", None)

    def _parse_ckpt_path(self) -> None:
        """Keep the settings of files and command line; stock Lightning prefers the checkpoint's."""

    def before_instantiate_classes(self) -> None:
        """See that the model can learn from the data."""
        check_task(*(resolve_name(self._get(self.config, key).class_path) for key in PARTS))

    def instantiate_classes(self) -> None:
        """Build data, model and trainer; a mistake found while building keeps its own message."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            if isinstance(cause, AnticipateError):
                raise cause from None
            raise

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand != "fit" and kwargs.get("ckpt_path") is None:
            raise ConfigError(f"{subcommand} needs weights: add --ckpt_path FILE (or last)")
        if kwargs.get("ckpt_path") is not None:
            kwargs["ckpt_path"] = str(self._checkpoint(kwargs["ckpt_path"]))
        if subcommand in ("validate", "test"):
            kwargs["verbose"] = False  # our own table says it
        if subcommand == "predict":
            kwargs["return_predictions"] = False  # they go to a file
        return kwargs

    def _checkpoint(self, name: str) -> Path:
        path = Path(name)
        if name == "last":
            path = Path(self.trainer.log_dir or ".") / "checkpoints" / "last.ckpt"
        check_fits(path, self.model)
        return path

    def fit(self, **kwargs: Any) -> None:
        """Train, then test the last checkpoint as anybody would."""
        debugging = self._get(self.config, "trainer").fast_dev_run
        if not debugging and kwargs.get("ckpt_path") is None:
            refuse_existing_run(self.trainer)
        self.trainer.fit(**kwargs)
        if not debugging:
            last = self._checkpoint("last")
            self.trainer.test(self.model, self.datamodule, ckpt_path=str(last), verbose=False)

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except SystemExit:  # Lightning's answer to Ctrl-C, after it has closed everything
            if subcommand == "fit":
                notice("to go on after the last epoch: the same command with --ckpt_path last")
            raise KeyboardInterrupt from None


def _seed_folder(seed: Any) -> str:
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError(f"seed_everything is {seed}, expected a number: it names the run folder")
    return f"seed_{seed}"


def _quieten_lightning() -> None:
    """Drop hints that a user of this suite cannot act on."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "Tip:" not in record.getMessage() and "💡" not in record.getMessage()
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
