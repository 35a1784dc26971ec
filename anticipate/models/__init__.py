"""LightningModules: they wire networks, losses, optimizers and metrics and hold no maths."""

from anticipate.catalog import attribute_lookup

__getattr__, __dir__ = attribute_lookup("models")
