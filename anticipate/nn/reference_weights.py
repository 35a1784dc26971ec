"""Weights of other code: the tensors of a released checkpoint, and a network that takes them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from anticipate.errors import CheckpointError

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Entries under which released checkpoints keep their tensors, beside epochs and optimizers."""

PREFIXES = ("module.",)
"""What all names may start with: weights saved from several GPUs."""


def reference_tensors(
    content: Any, system: str, prefixes: Sequence[str] = PREFIXES
) -> dict[str, Tensor]:
    """Return the tensors of released weights by their names, without wrapping and prefix.

    Args:
        content: Tensors by name, or a checkpoint with an entry of `WRAPPERS` that holds them.
        system: Whose weights they should be, with its article, for messages.
        prefixes: What all names may start with; the first that fits is left out.

    Raises:
        CheckpointError: It holds no tensors, or something else among them.
    """
    found = content
    if isinstance(content, Mapping):
        found = next((content[key] for key in WRAPPERS if key in content), content)
    if not isinstance(found, Mapping) or not found:
        raise CheckpointError(
            f"found {type(content).__name__} without tensors, expected the state dict of {system}"
        )
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"entry '{name}' is a {type(tensor).__name__}, expected a tensor of {system}"
            )
    prefix = next((p for p in prefixes if all(name.startswith(p) for name in found)), "")
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}


def matrix_size(tensors: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    """Return rows and columns of a matrix.

    Raises:
        CheckpointError: It is missing, or no matrix.
    """
    if name not in tensors:
        raise CheckpointError(f"tensor '{name}' is missing")
    if tensors[name].ndim != 2:
        raise CheckpointError(f"'{name}' has {tensors[name].ndim} axes, expected 2")
    rows, columns = tensors[name].shape
    return rows, columns


@torch.no_grad()
def take_weights(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    their_name: Callable[[str], str],
    transposed: Callable[[str], bool] = lambda _: False,
) -> None:
    """Copy tensors into the parameters of a network, each of which is used once.

    Args:
        network: Network of the same sizes.
        tensors: Tensors by the names of their authors.
        their_name: The authors' name of a parameter of ours.
        transposed: Whether the authors store a parameter of ours, a matrix, the other way round.

    Raises:
        CheckpointError: A tensor is missing, of another shape, or unknown.
    """
    parameters = {their_name(name): (name, value) for name, value in network.named_parameters()}
    unknown = sorted(tensors.keys() - parameters.keys())
    if unknown:
        raise CheckpointError(f"unknown tensor '{unknown[0]}' ({len(unknown)} are)")
    for theirs, (name, parameter) in parameters.items():
        if theirs not in tensors:
            raise CheckpointError(f"tensor '{theirs}' is missing")
        ours = parameter.T if transposed(name) else parameter
        if tensors[theirs].shape != ours.shape:
            raise CheckpointError(
                f"'{theirs}' is {tuple(tensors[theirs].shape)}, expected {tuple(ours.shape)}"
            )
        ours.copy_(tensors[theirs])
