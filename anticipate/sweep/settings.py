"""What an experiment's settings are after all files and options: read as `anticipate fit` does."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from jsonargparse import Namespace

from anticipate.config_chain import expand_extends
from anticipate.training import AnticipateCLI

Settings = Mapping[str, Any]
"""Values by dotted key; those that are null or empty do not stand in it."""

WITHOUT_EFFECT = (
    "checkpoint.",
    "ckpt_path",
    "expert_usage.",
    "figures.",
    "predictions.",
    "run_dir",
    "trainer.default_root_dir",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.logger.",
)
"""How the keys begin that leave the results of a run as they are."""


class SettingsReader(AnticipateCLI):
    """A command line that reads settings, and builds and runs nothing."""

    def parse_arguments(self, parser: Any, args: Any) -> None:
        """Leave reading to `read`, any number of times."""
        self.config = Namespace(subcommand="fit")

    def _set_seed(self) -> None:
        """Leave random numbers as they are."""

    def before_instantiate_classes(self) -> None:
        """Compare nothing."""

    def instantiate_classes(self) -> None:
        """Build nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""

    def read(self, options: Sequence[str]) -> Settings:
        """Return the settings that `anticipate fit` would run with.

        Args:
            options: The words after `fit`.

        Raises:
            ConfigError: A file or option that cannot be used.
        """
        config = self.parser.parse_args(expand_extends(["fit", *options]))["fit"]
        config.pop("extends", None)
        return flatten(yaml.safe_load(self._parser("fit").dump(config)))


def flatten(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a nested document by dotted key, without nulls and empty mappings."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif value is not None:
            flat[f"{prefix}{key}"] = value
    return flat


def decisive(settings: Settings) -> dict[str, Any]:
    """Return the settings that decide about the results of a run."""
    return {key: value for key, value in settings.items() if not key.startswith(WITHOUT_EFFECT)}


def differences(first: Settings, second: Settings) -> list[str]:
    """Return the keys, of those that decide about the results, whose values differ."""
    a, b = decisive(first), decisive(second)
    return sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))
