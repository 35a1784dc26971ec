"""What a job of the cluster does: one run, in the processes that SLURM has started for it."""

import os

from anticipate.cli import main
from anticipate.errors import RunExistsError
from anticipate.lab.sweep.folder import LOG
from anticipate.lab.sweep.lock import options_now, take_lock
from anticipate.lab.sweep.plan import Run


def run_in_job(run: Run) -> None:
    """Begin a run or let it go on; all that it says goes to its log.

    Raises:
        RunExistsError: Another process works on the run.
    """
    first = os.environ.get("SLURM_PROCID", "0") == "0"
    log = take_lock(run.folder) if first else (run.folder / LOG).open("ab")
    if log is None:
        raise RunExistsError(f"{run.folder}: another process works on this run")
    for stream in (1, 2):
        os.dup2(log.fileno(), stream)
    for leftover in run.folder.glob("hpc_ckpt_*.ckpt"):  # of a requeue; last.ckpt is a whole epoch
        leftover.unlink(missing_ok=True)
    options = options_now(run)
    if options is not None:
        main(["fit", *options, f"--trainer.default_root_dir={run.folder}"])
