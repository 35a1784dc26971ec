"""Networks and layers: plain PyTorch, no training code."""

from anticipate.catalog import attribute_lookup

__getattr__, __dir__ = attribute_lookup("nn")
