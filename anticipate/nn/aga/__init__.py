"""AGA: action anticipation by attention that past predictions guide."""

from anticipate.nn.aga.network import AGA
from anticipate.nn.aga.past import Past, labelled_past, perturbed_past
from anticipate.nn.aga.state import AGAState
from anticipate.nn.aga.trace import AGATrace
from anticipate.nn.aga.weights import aga_from_reference

__all__ = [
    "AGA",
    "AGAState",
    "AGATrace",
    "Past",
    "aga_from_reference",
    "labelled_past",
    "perturbed_past",
]
