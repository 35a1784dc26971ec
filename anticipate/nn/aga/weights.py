"""AGA from a state dict with the parameter names of its authors' code."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from anticipate.choices import checked_choices
from anticipate.errors import CheckpointError
from anticipate.nn.aga.fusion import GateKind
from anticipate.nn.aga.network import AGA, AttentionKind
from anticipate.nn.aga.query import QueryKind

PREFIXES = ("graph.P.", "P.", "model.")
"""What all names may start with: the name of the object that was saved."""

NUM_HEADS = 16
"""Of all released networks; the tensors do not show it."""

ATTENTION, MLP = "state_transform.target_f1", "state_transform.target_f2.fn"

MODULES = {
    "frame_encoder.norm": "encoder.0",
    "frame_encoder.linear": "encoder.3",
    "frame_norm": "encoder.4",
    "query_encoder.norm": "encode_q.0",
    "query_encoder.linear": "encode_q.3",
    "query_encoder": "encode_q",
    "key_encoder.norm": "encode_k.0",
    "key_encoder.linear": "encode_k.3",
    "retrieval.query_norm": f"{ATTENTION}.q_norm",
    "retrieval.key_norm": f"{ATTENTION}.k_norm",
    "retrieval.value_norm": f"{ATTENTION}.v_norm",
    "retrieval.query_proj": f"{ATTENTION}.fn.q_f",
    "retrieval.key_proj": f"{ATTENTION}.fn.k_f",
    "retrieval.value_proj": f"{ATTENTION}.fn.v_f",
    "retrieval.out_proj": f"{ATTENTION}.fn.to_out.0",
    "retrieval.mlp.0": f"{MLP}.q_norm",
    "retrieval.mlp.1": f"{MLP}.fn.net.0",
    "retrieval.mlp.4": f"{MLP}.fn.net.3",
    "history_norm": "hx_norm",
    "fusion.gate.from_frame": "selector.0",
    "fusion.gate.from_history": "selector.0",
    "fusion.gate.out": "selector.3",
    "classifier.norm": "anticipation_classifier.0",
    "classifier.linear": "anticipation_classifier.3",
}
"""Our name of each module, and the authors'."""

NEVER_TRAINED = (f"{MLP}.k_norm", f"{MLP}.v_norm")
"""Modules of theirs that no output depends on."""

LSTM, LSTM_TENSORS = "guidance.summarise.cell", ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""Their name of the LSTM is not known: its tensors are."""


@checked_choices
def aga_from_reference(
    state_dict: Any,
    *,
    queue_length: int = 30,
    query: QueryKind = "ema_released",
    gate: GateKind = "elementwise",
    attention: AttentionKind = "action_guided",
) -> AGA:
    """Build AGA with the weights of the authors' code.

    Args:
        state_dict: Their tensors by name, also with a prefix or as entry `state_dict` of a mapping.
        queue_length: Steps remembered.
        query: Summary of the predictions that the weights were trained with.
        gate: Gate that they were trained with.
        attention: Attention that they were trained with.

    Returns:
        The network, in training mode as every new module. Tensors that the chosen variant does not
        use are left out.

    Raises:
        CheckpointError: Not a state dict; a tensor is missing, of another size or unknown.
    """
    settings = reference_settings(
        state_dict, queue_length=queue_length, query=query, gate=gate, attention=attention
    )
    network = AGA(**settings)
    tensors = _tensors(state_dict)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(_find(name, parameter, tensors))
    return network


def reference_settings(
    state_dict: Any,
    *,
    queue_length: int,
    query: QueryKind,
    gate: GateKind,
    attention: AttentionKind,
) -> dict[str, Any]:
    """Return the arguments of `AGA` that fit the tensors; errors as of `aga_from_reference`."""
    tensors = _tensors(state_dict)
    _refuse_unknown(tensors)
    hidden_dim, feature_dim = _matrix(tensors, "encoder.3.weight")
    num_classes, _ = _matrix(tensors, "anticipation_classifier.3.weight")
    _, bottleneck = _matrix(tensors, f"{ATTENTION}.fn.q_f.weight")
    if hidden_dim % NUM_HEADS:
        raise CheckpointError(
            f"'encoder.3.weight' has {hidden_dim} rows, expected a multiple of {NUM_HEADS}, "
            "the number of heads of every AGA"
        )
    return {
        "num_classes": num_classes,
        "feature_dim": feature_dim,
        "hidden_dim": hidden_dim,
        "bottleneck": bottleneck,
        "num_heads": NUM_HEADS,
        "query": query,
        "attention": attention,
        "gate": gate,
        "queue_length": queue_length,
        "input_norm": any(name.startswith("encoder.0.") for name in tensors),
    }


def _tensors(state_dict: Any) -> dict[str, Tensor]:
    """Return the tensors by the authors' names, without a prefix."""
    found = state_dict.get("state_dict", state_dict) if isinstance(state_dict, Mapping) else None
    if not isinstance(found, Mapping) or not found:
        raise CheckpointError(
            f"found {type(state_dict).__name__} without tensors, expected the state dict of an AGA"
        )
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"entry '{name}' is a {type(tensor).__name__}, expected a tensor of an AGA"
            )
    prefixes = (p for p in PREFIXES if all(name.startswith(p) for name in found))
    prefix = next(prefixes, "")
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}


def _refuse_unknown(tensors: Mapping[str, Tensor]) -> None:
    known = {*MODULES.values(), *NEVER_TRAINED}
    for name in tensors:
        module, _, parameter = name.rpartition(".")
        if parameter not in LSTM_TENSORS and (
            module not in known or parameter not in ("weight", "bias", "g")
        ):
            raise CheckpointError(f"unknown tensor '{name}': the weights are not those of an AGA")


def _matrix(tensors: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    if name not in tensors:
        raise _missing(name)
    if tensors[name].ndim != 2:
        raise CheckpointError(f"'{name}' has {tensors[name].ndim} axes, expected 2")
    rows, columns = tensors[name].shape
    return rows, columns


def _find(name: str, parameter: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the values of one of our parameters."""
    theirs = _their_name(name, tensors)
    if theirs not in tensors:
        raise _missing(theirs)
    tensor, expected = tensors[theirs], tuple(parameter.shape)
    if theirs == "selector.0.weight":  # one matrix for [frame, history]
        expected = (expected[0], 2 * expected[1])
    if tuple(tensor.shape) != expected:
        raise CheckpointError(
            f"'{theirs}' is {tuple(tensor.shape)}, expected {expected}: "
            "choose query, gate and attention as in training"
        )
    if theirs == "selector.0.weight":
        return tensor.chunk(2, dim=1)["from_history" in name]
    return tensor


def _their_name(name: str, tensors: Mapping[str, Tensor]) -> str:
    module, _, parameter = name.rpartition(".")
    if module == LSTM:
        endings = (theirs for theirs in tensors if theirs.rpartition(".")[2] == parameter)
        return next(endings, parameter)
    return f"{MODULES[module]}.{'g' if parameter == 'gain' else parameter}"


def _missing(name: str) -> CheckpointError:
    return CheckpointError(
        f"tensor '{name}' is missing: choose query, gate and attention as in training"
    )
