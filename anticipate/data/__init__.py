"""Data sets: one prepared file each, read through a LightningDataModule.

The classes are imported when asked for, so that commands which only prepare or inspect files do not
wait for Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anticipate.data.assembly101 import Assembly101
    from anticipate.data.breakfast import Breakfast
    from anticipate.data.egtea_gaze import EgteaGaze
    from anticipate.data.epic_kitchens import EpicKitchens55, EpicKitchens100
    from anticipate.data.salads50 import Salads50
    from anticipate.data.synthetic_actions import SyntheticActions
    from anticipate.data.synthetic_set import Synthetic

__all__ = [
    "Assembly101",
    "Breakfast",
    "EgteaGaze",
    "EpicKitchens55",
    "EpicKitchens100",
    "Salads50",
    "Synthetic",
    "SyntheticActions",
]

_MODULES = {
    "Assembly101": "assembly101",
    "Breakfast": "breakfast",
    "EgteaGaze": "egtea_gaze",
    "EpicKitchens55": "epic_kitchens",
    "EpicKitchens100": "epic_kitchens",
    "Salads50": "salads50",
    "Synthetic": "synthetic_set",
    "SyntheticActions": "synthetic_actions",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'anticipate.data' has no attribute '{name}'")
    return getattr(import_module(f"anticipate.data.{_MODULES[name]}"), name)
