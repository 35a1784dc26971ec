"""Which settings decide about the results of a run."""

from typing import Any

from anticipate.training.settings import Settings

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
"""How the keys begin that leave the results of a run as they are .."""
ANY_PLACE = (".scan_backend",)
""".. and how they end, wherever they are."""


def decisive(settings: Settings) -> dict[str, Any]:
    """Return the settings that decide about the results of a run."""
    return {
        key: value
        for key, value in settings.items()
        if not key.startswith(WITHOUT_EFFECT) and not key.endswith(ANY_PLACE)
    }


def differences(first: Settings, second: Settings) -> list[str]:
    """Return the keys, of those that decide about the results, whose values differ."""
    a, b = decisive(first), decisive(second)
    return sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))
