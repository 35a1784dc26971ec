"""LightningModules: they wire networks, losses, optimizers and metrics and hold no maths."""

from anticipate.models.dense import DenseAnticipator
from anticipate.models.diffusion import DiffusionAnticipator
from anticipate.models.sequence import SequenceAnticipator
from anticipate.models.short_term import ShortTermAnticipator

__all__ = [
    "DenseAnticipator",
    "DiffusionAnticipator",
    "SequenceAnticipator",
    "ShortTermAnticipator",
]
