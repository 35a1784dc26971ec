"""What a network was built with, kept in the checkpoint.

Lightning's `load_from_checkpoint` builds the default network where the checkpoint does not hold
one, and takes the weights if their shapes agree: a network that was trained with another selection
of experts would come back as one it never was. So what was built is compared with what was trained.
"""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from torch import nn

from anticipate.errors import CheckpointError

KEY = "network"
"""Key of the settings in a checkpoint."""

DROPPED = {"guidance.summarise.start": ("first",), "guidance.summarise.space": ("probs", "logits")}
"""Settings of earlier versions, and their values that are what this one does."""


class KeepsNetwork(pl.LightningModule):
    """A model whose checkpoints know what its `network` was built with."""

    network: nn.Module

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the network was built with."""
        checkpoint[KEY] = plain_settings(self.network)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the weights of another network where Lightning has guessed it."""
        check_network(self, self.network, checkpoint)


def plain_settings(network: nn.Module) -> dict[str, Any]:
    """Return the plain public attributes of a network and its modules, by their path.

    >>> plain_settings(nn.Sequential(nn.Dropout(0.5)))
    {'0.p': 0.5, '0.inplace': False}
    """
    return {
        f"{path}.{name}" if path else name: value
        for path, module in network.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, bool | int | float | str)
        and not name.startswith("_")
        and name != "training"
    }


def check_network(
    model: pl.LightningModule, network: nn.Module, checkpoint: Mapping[str, Any]
) -> None:
    """Refuse weights of a network that was built with other settings, outside a trainer.

    Within a trainer the settings come from files and the command line, which may differ on purpose.

    Args:
        model: The model that is to take the weights.
        network: Its network.
        checkpoint: What `model.on_save_checkpoint` wrote, among other things.

    Raises:
        CheckpointError: Another network was trained, or the checkpoint does not say which.
    """
    if model._trainer is not None:
        return
    advice = "load it with anticipate.load(RUN_FOLDER), which reads the settings of its run"
    if KEY not in checkpoint:
        raise CheckpointError(f"the checkpoint does not say how its network was built: {advice}")
    trained, here = checkpoint[KEY], plain_settings(network)
    for name in trained.keys() | here.keys():
        if name not in here and trained[name] in DROPPED.get(name, ()):
            continue
        if trained.get(name) != here.get(name):
            raise CheckpointError(
                f"the checkpoint is of a network with {name} = {trained.get(name)!r}, but one with "
                f"{here.get(name)!r} was built: {advice}"
            )
