"""TensorBoard beyond single curves: charts that belong together, settings as text and as a table.

Each tested run adds a row to the table of settings (tab HParams): its run name, its settings and
its main scores. These live in the folder `hparams` of the run, apart from the curves of training,
so that the table has columns for the main scores and for nothing else.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from anticipate.files import CONFIG
from anticipate.models.dense_anticipator import DenseAnticipator
from anticipate.training.callbacks.drawing import writers

__all__ = ["Dashboard"]


FOLDER = "hparams"

Layout = dict[str, dict[str, list[Any]]]

LOSSES: Layout = {"Losses": {"training": ["Multiline", ["train/.*"]]}}
DENSE_LAYOUT: Layout = LOSSES | {
    "MoC per horizon": {
        f"{stage}: {title}": ["Multiline", [f"{stage}/{measure}/.*"]]
        for stage in ("val", "test")
        for measure, title in (("mean_moc", "Mean MoC"), ("top1_moc", "Top-1 MoC"))
    },
    "Router": {
        "entropy": ["Multiline", ["router/entropy"]],
        "share of the choices by expert": ["Multiline", ["router/usage_expert.*"]],
    },
}
SHORT_TERM_LAYOUT: Layout = LOSSES | {
    "Verb, noun, action": {
        f"{stage}: {subset}": ["Multiline", [f"{stage}/{subset}/.*"]]
        for stage in ("val", "test")
        for subset in ("overall", "unseen", "tail")
    },
}
"""Charts of the tab Custom Scalars: regular expressions of the scalars in each."""

MAIN = re.compile(r"test/(mean_moc|(mean|top1)_moc/obs0\.3_pred0\.5|overall/.*)")
"""Scores that are columns of the table of settings."""

Value = bool | int | float | str


class Dashboard(Callback):
    """Lays out TensorBoard's charts, and adds settings and main scores of the run to its tables."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the layout of the charts and the resolved configuration."""
        dense = isinstance(pl_module, DenseAnticipator)
        for logger in writers(trainer):
            logger.experiment.add_custom_scalars(DENSE_LAYOUT if dense else SHORT_TERM_LAYOUT)
            path = Path(logger.log_dir) / CONFIG
            if path.is_file():
                logger.experiment.add_text("config", f"```yaml\n{path.read_text()}\n```")

    @rank_zero_only
    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the run to the table of settings."""
        for logger in writers(trainer):
            path = Path(logger.log_dir) / CONFIG
            if path.is_file():
                scores = {
                    name: float(value)
                    for name, value in trainer.callback_metrics.items()
                    if MAIN.fullmatch(name)
                }
                add_row(path.parent, settings(yaml.safe_load(path.read_text())), scores)


def settings(config: Mapping[str, Any]) -> dict[str, Value]:
    """Return the settings of a run by their paths; of a class its path.

    >>> network = {"class_path": "anticipate.nn.MixANT", "init_args": {"num_experts": 5}}
    >>> settings({"run_name": "experts/5", "model": {"init_args": {"denoiser": network}}})
    {'run_name': 'experts/5', 'model.denoiser': 'MixANT', 'model.denoiser.num_experts': 5}
    """
    shown = ("run_name", "seed_everything", "data", "model")
    rows = _flat({name: config[name] for name in shown if name in config}, "")
    if "max_epochs" in config.get("trainer", {}):
        rows["trainer.max_epochs"] = config["trainer"]["max_epochs"]
    return rows


def add_row(folder: Path, values: Mapping[str, Value], scores: Mapping[str, float]) -> None:
    """Add a run to the table of settings.

    Args:
        folder: Folder of the run.
        values: Settings by name.
        scores: Main scores by name.
    """
    # Without the first part, which would fix the columns of all runs, TensorBoard joins those of
    # every run and puts the settings that differ first.
    _, start, end = hparams(dict(values), {})
    with SummaryWriter(str(folder / FOLDER)) as writer:
        writer.file_writer.add_summary(start)
        writer.file_writer.add_summary(end)
        for name, score in scores.items():
            writer.add_scalar(name, score, 0)


def _flat(value: Any, path: str) -> dict[str, Value]:
    if not isinstance(value, Mapping):
        plain = value if isinstance(value, bool | int | float | str) else json.dumps(value)
        return {path: plain}
    rows: dict[str, Value] = {}
    for name, part in value.items():
        if name == "class_path":
            rows[path] = str(part).rpartition(".")[2]
        else:
            # `init_args` says nothing: its settings belong to the class above it.
            below = path if name == "init_args" else f"{path}.{name}".lstrip(".")
            rows |= _flat(part, below)
    return rows
