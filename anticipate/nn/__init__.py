"""Networks and layers: plain PyTorch, no training code."""

from anticipate.nn.aga import AGA, aga_from_reference
from anticipate.nn.mixant import MixANT
from anticipate.nn.scan import selective_scan
from anticipate.nn.transformer import Transformer

__all__ = ["AGA", "MixANT", "Transformer", "aga_from_reference", "selective_scan"]
