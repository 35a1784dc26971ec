"""How a run begins in its folder: alone, and where an earlier one stopped.

Who works on a run holds a lock on the log in its folder. The lock lives exactly as long as the
process, so a sweep sees what one that was killed has left running, and never doubles it.
"""

from io import BufferedRandom
from pathlib import Path

from anticipate.lab.sweep.folder import LOG, clear_beginning, stage_of
from anticipate.lab.sweep.plan import Run
from anticipate.training.run_lock import is_training, lock_file


def take_lock(folder: Path) -> BufferedRandom | None:
    """Open the log of a run for appending, locked until all that inherit it have closed it.

    Args:
        folder: Run folder; made where it is missing.

    Returns:
        The log; None while another process works on the run, also one that no sweep has started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = lock_file(folder / LOG)
    if log is not None and is_training(folder):
        log.close()
        return None
    return log


def options_now(run: Run) -> tuple[str, ...] | None:
    """Return the words after `anticipate fit` that start or resume a claimed run.

    Returns:
        The words; None for a run that is finished.
    """
    stage = stage_of(run.folder, run.settings)
    if stage == "finished":
        return None
    options = (*run.options, "--trainer.enable_progress_bar=false")
    if stage == "begun":
        return (*options, "--ckpt_path=last")
    clear_beginning(run.folder)
    return options
