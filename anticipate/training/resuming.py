"""Going on with a training: only with the settings that it was started with.

Optimizer, schedule and averages come back from the checkpoint, not from the present settings. So a
changed learning rate would be written down and have no effect: it is refused.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml

from anticipate import __version__
from anticipate.errors import CheckpointError, ConfigError
from anticipate.files import METRICS, RESUMES
from anticipate.training.checkpoints import read_checkpoint
from anticipate.training.settings import Settings, differences, flatten, read_yaml

FREE = (
    "data.init_args.path",  # the checkpoint knows the content of its file
    "run_name",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.enable_",
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.num_nodes",
    "trainer.strategy",
)
"""Prefixes of the keys that may change when a training is resumed, besides those without effect."""

LENGTH = "trainer.max_epochs"
NAMED = 5
"""Differences that a message names."""


def check_resume(config: Path, settings: Mapping[str, Any], model: pl.LightningModule) -> Settings:
    """Compare the settings that a training is resumed with to those that it was started with.

    Args:
        config: `config.yaml` of the run that the checkpoint belongs to.
        settings: Those of now.
        model: Its `schedule_needs_max_epochs`, where it has one, tells whether its learning rate
            depends on the number of epochs, which then may not change either.

    Returns:
        Values of now, by key, of all settings that changed.

    Raises:
        CheckpointError: The file cannot be read.
        ConfigError: A setting differs that may not.
    """
    try:
        before = flatten(read_yaml(config.read_text()))
    except (OSError, yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
        raise CheckpointError(f"{config}: no settings of a run ({error})") from error
    now = flatten(settings)
    fixed_length = getattr(model, "schedule_needs_max_epochs", False)
    changed = differences(before, now, FREE if fixed_length else (*FREE, LENGTH))
    if changed:
        some = "; ".join(f"{k} was {before.get(k)}, now {now.get(k)}" for k in changed[:NAMED])
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        raise ConfigError(
            f"a training continues with the settings of {config}: {some}{more}; leave them as they "
            "were, or start a run of another --run_name without --ckpt_path"
        )
    return {key: now.get(key) for key in differences(before, now)}


def check_something_left(ckpt: Path, max_epochs: int | None, least: int) -> None:
    """See that a training that starts from a checkpoint has epochs to train.

    Args:
        ckpt: Checkpoint.
        max_epochs: Length of the training, None or -1 without one.
        least: Epochs that must be left: 1 for a new run, 0 for one that may only lack its test.

    Raises:
        ConfigError: The checkpoint has more of them behind it.
    """
    done = int(read_checkpoint(ckpt).get("epoch", -1)) + 1
    if max_epochs is not None and 0 <= max_epochs < done + least:
        raise ConfigError(
            f"{ckpt} has trained {done} epochs and trainer.max_epochs is {max_epochs}: nothing is "
            "left to train; raise it, or score the checkpoint with anticipate test"
        )


def note_resume(folder: Path, ckpt: str, changed: Settings) -> None:
    """Append to `resumes.jsonl` of a run that it was resumed, from where, and what changed.

    Its `metrics.json` is of the weights before, and goes: a run that has it counts as finished.

    Args:
        folder: Run folder.
        ckpt: Checkpoint.
        changed: What `check_resume` returned.
    """
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "checkpoint": ckpt,
        "changed": changed,
    }
    with (folder / RESUMES).open("a") as file:
        file.write(json.dumps(line) + "\n")
    (folder / METRICS).unlink(missing_ok=True)
