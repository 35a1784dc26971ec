"""LightningModules: they wire networks, losses, optimizers and metrics and hold no maths."""

from anticipate.models.dense import DenseAnticipator
from anticipate.models.diffusion import DiffusionAnticipator

__all__ = ["DenseAnticipator", "DiffusionAnticipator"]
