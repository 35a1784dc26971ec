"""`metrics.json`: what a test leaves in its run folder for reports and sweeps."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl

from anticipate import __version__
from anticipate.console import finite
from anticipate.files import METRICS, write_whole
from anticipate.training.callbacks.drawing import writers
from anticipate.training.callbacks.efficiency import efficiency


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
            `checkpoint`, `scores` by method, `efficiency`; the version is added here.

    Returns:
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / METRICS
    text = json.dumps(finite({"version": __version__, **document}), indent=2)
    write_whole(path, text + "\n")
    return path
