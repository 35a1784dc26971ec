"""Networks and layers: plain PyTorch, no training code."""

from anticipate.nn.aga import AGA
from anticipate.nn.mixant import MixANT
from anticipate.nn.scan import selective_scan

__all__ = ["AGA", "MixANT", "selective_scan"]
