"""A trained AGA for the analyses that look at one."""

import pytest


@pytest.fixture(scope="session")
def aga_checkpoint(aga_run):
    """A tiny AGA after three steps of training: clips of 5 steps, a memory of 3."""
    return aga_run / "checkpoints" / "last.ckpt"
