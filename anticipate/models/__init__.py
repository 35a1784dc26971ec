"""LightningModules: they wire networks, losses, optimizers and metrics together and hold no maths of their own."""

from anticipate.models.dense import DenseAnticipator
from anticipate.models.diffusion import DiffusionAnticipator

__all__ = ["DenseAnticipator", "DiffusionAnticipator"]
