"""The files of a run folder: settings and results, and that no other run writes into it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.cli import SaveConfigCallback

from anticipate import __version__
from anticipate.console import finite
from anticipate.errors import RunExistsError
from anticipate.files import CONFIG, METRICS, write_whole
from anticipate.training.callbacks.drawing import writers
from anticipate.training.callbacks.efficiency import efficiency
from anticipate.training.provenance import caveat


def write_results(
    trainer: pl.Trainer,
    model: pl.LightningModule,
    kind: Literal["dense", "short_term"],
    scores: Mapping[str, Any],
    **counts: int,
) -> Path | None:
    """Write the results of a trainer's test into its run folder.

    Args:
        trainer: Trainer with a data module of this suite.
        model: The tested model.
        kind: Task.
        scores: Scores by method.
        counts: What was scored, such as `num_test_videos`.

    Returns:
        The file; None for a trainer without a folder.
    """
    # Only the first process writes; it would wait forever for `trainer.log_dir`, a broadcast.
    folder = next((logger.log_dir for logger in writers(trainer)), None)
    if folder is None:
        return None
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    document = {
        "kind": kind,
        "dataset": data.dataset,
        "split": data.split,
        "seed": data.seed,
        "synthetic": data.synthetic,
        "caveat": caveat(trainer) or None,
        "scored_part": data.scored_part or None,
        **counts,
        "checkpoint": str(trainer.ckpt_path) if trainer.ckpt_path else None,
        "scores": scores,
        "efficiency": efficiency(trainer, model),
    }
    return write_metrics(Path(folder), document)


def write_metrics(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write the results of a test at once, under a temporary name first; NaN becomes null.

    Args:
        folder: Run folder; made where it is missing.
        document: `kind` ("dense" or "short_term"), `dataset`, `split`, `seed`, `synthetic`,
            `caveat`, `scored_part`, `checkpoint`, `scores` by method, `efficiency`; the version is
            added here.

    Returns:
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / METRICS
    text = json.dumps(finite({"version": __version__, **document}), indent=2)
    write_whole(path, text + "\n")
    return path


class SaveRunConfig(SaveConfigCallback):
    """Writes `config.yaml` before a new training; other commands write `config.test.yaml` .."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write the file where there is a run folder."""
        if not trainer.loggers:
            return
        command = trainer.state.fn.value if trainer.state.fn else stage
        if command != "fit":
            self.config_filename = f"config.{command}.yaml"
        elif trainer.log_dir and (Path(trainer.log_dir) / CONFIG).is_file():
            return  # a resumed training: the file stays as the run was started
        self.overwrite = True  # `refuse_existing_run` has spoken before anything was written
        super().setup(trainer, pl_module, stage)


def refuse_existing_run(trainer: pl.Trainer) -> None:
    """Keep a new run out of the folder of another.

    Raises:
        RunExistsError: The run folder already holds a configuration.
    """
    # Every process asks for the folder, as that is a broadcast; the first one knows the file.
    folder = Path(trainer.log_dir) if trainer.loggers and trainer.log_dir else None
    if trainer.is_global_zero and folder and (folder / CONFIG).exists():
        raise RunExistsError(
            f"{folder} already holds a run: resume it with --ckpt_path last, remove it, "
            "or choose another --run_name or --seed_everything"
        )
