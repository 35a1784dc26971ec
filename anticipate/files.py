"""What a run folder holds, names that may become paths, and writing a file whole or not at all."""

import json
from pathlib import Path

from anticipate.errors import AnticipateError

CONFIG = "config.yaml"
"""All settings of the training."""
TEST_CONFIG = "config.test.yaml"
"""All settings of a test; alone where a checkpoint of elsewhere was tested under a name."""
RESUMES = "resumes.jsonl"
"""A line for each time that the training went on."""
LOCK = "run.lock"
"""Who trains in the folder, as long as somebody does."""
METRICS = "metrics.json"
"""Scores and costs of the test; a run that has it is finished."""
SAME_AS = "same_as.json"
"""Instead of results: the run of equal settings that has them."""
FIGURES = "figures"
CHECKPOINT = Path("checkpoints") / "last.ckpt"
PREDICTIONS = "predictions.h5"

READABLE_METRICS = ("0.1", "0.2")
"""Versions of the package, without the last number, whose `metrics.json` this one understands."""


def run_folder(run_dir: Path, name: str, split: int, seed: int) -> Path:
    """Return the folder of a run."""
    return run_dir / name / f"split_{split}" / f"seed_{seed}"


def tested(folder: Path) -> bool:
    """Return whether a run has its scores, its last step: half a file is none, and made again."""
    try:
        metrics = json.loads((folder / METRICS).read_text())
    except (OSError, ValueError, RecursionError):
        return False
    scores = metrics.get("scores") if isinstance(metrics, dict) else None
    return isinstance(scores, dict) and bool(scores)


def check_name(name: str, what: str, error: type[AnticipateError]) -> str:
    """Return a name that is safe as a file, a folder or a group of an HDF5 file.

    Args:
        name: What was found.
        what: What it names, and where it was found, for the message.
        error: Kind of error to raise.

    Raises:
        AnticipateError: It is empty, `.` or `..`, or holds a slash, a backslash or a NUL.
    """
    if name in ("", ".", "..") or set(name) & set("/\\\0"):
        raise error(
            f"{what} is {name!r}: expected a name without slashes that is not empty, '.' or '..'"
        )
    return name


def write_whole(path: Path, text: str) -> None:
    """Write a text file under a temporary name first, so that it is never half there."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)
