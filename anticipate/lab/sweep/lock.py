"""How a run begins in its folder: alone, and where an earlier one stopped.

Who works on a run holds a lock on the log in its folder. The lock lives exactly as long as the
process, so a sweep sees what one that was killed has left running, and never doubles it.
"""

import fcntl
from io import BufferedWriter
from pathlib import Path

from anticipate.lab.sweep.folder import LOG, clear_beginning, stage_of
from anticipate.lab.sweep.plan import Run


def take_lock(folder: Path) -> BufferedWriter | None:
    """Open the log of a run for appending, locked until all that inherit it have closed it.

    Args:
        folder: Run folder; made where it is missing.

    Returns:
        The log; None while another process works on the run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = (folder / LOG).open("ab")
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.close()
        return None
    return log


def options_now(run: Run) -> tuple[str, ...] | None:
    """Return the words after `anticipate fit` that begin a claimed run or let it go on.

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
