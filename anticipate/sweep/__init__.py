"""`anticipate sweep`: many experiments, splits and seeds, several at a time, resumable."""

from anticipate.sweep.command import main

__all__ = ["main"]
