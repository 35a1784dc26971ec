"""Data sets: one prepared file each, read through a LightningDataModule.

The classes are imported when asked for, so that commands which only prepare or inspect files do not
wait for Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anticipate.data.assembly101 import Assembly101
    from anticipate.data.breakfast import Breakfast
    from anticipate.data.salads50 import Salads50
    from anticipate.data.synthetic_set import Synthetic

__all__ = ["Assembly101", "Breakfast", "Salads50", "Synthetic"]

_MODULES = {
    "Assembly101": "assembly101",
    "Breakfast": "breakfast",
    "Salads50": "salads50",
    "Synthetic": "synthetic_set",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'anticipate.data' has no attribute '{name}'")
    return getattr(import_module(f"anticipate.data.{_MODULES[name]}"), name)
