"""Mistakes a user can make, as one exception tree.

A message says what was found, what was expected and what to do about it. `anticipate.cli.main`
prints it as one line and exits with code 2; every other exception is a bug and keeps its traceback.
"""


class AnticipateError(Exception):
    """Root of every error that a user can cause and mend."""


class ConfigError(AnticipateError, ValueError):
    """A setting, option or YAML file that cannot be used."""


class DataError(AnticipateError):
    """A data, label or prediction file that is missing, damaged or inconsistent."""


class CheckpointError(AnticipateError):
    """A checkpoint that is missing, damaged or of another model."""


class RunExistsError(AnticipateError):
    """A run folder that already holds a run."""
