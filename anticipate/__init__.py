"""Action anticipation in video: networks, data sets, measures, experiments.

`load(run)` returns the model and the data of a run. The networks, `selective_scan`, the data
modules, the LightningModules and the measures are attributes too; each is imported when it is first
asked for, so that `import anticipate` waits for nothing.
"""

from typing import Any

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    from anticipate.catalog import find  # here: `anticipate --help` does without it

    offer = None if name.startswith("_") else find(name)
    if offer is None:
        raise AttributeError(f"module 'anticipate' has no attribute '{name}'")
    return offer.load()


def __dir__() -> list[str]:
    from anticipate.catalog import OPEN_PACKAGES, offers

    return sorted({"__version__", *(name for package in OPEN_PACKAGES for name in offers(package))})
