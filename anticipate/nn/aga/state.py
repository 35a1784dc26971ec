"""What AGA computes of frames alone, what it carries from step to step, what it answers."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from anticipate.nn.aga.query import Summary


class Frame(NamedTuple):
    """One step of what depends on frames alone."""

    encoded: Float[Tensor, "batch hidden"]
    value: Float[Tensor, "batch heads 1 head_dim"] | None
    """None where values are made of fused vectors."""
    gate_half: Float[Tensor, "batch bottleneck"]
    """What the gate takes from the frame; width 0 without a gate."""


class Frames(NamedTuple):
    """All steps of it, computed at once."""

    encoded: Float[Tensor, "batch steps hidden"]
    values: Float[Tensor, "batch heads steps head_dim"] | None
    gate_half: Float[Tensor, "batch steps bottleneck"]

    def at(self, step: int) -> Frame:
        """Return one step."""
        value = None if self.values is None else self.values[:, :, step : step + 1]
        return Frame(self.encoded[:, step], value, self.gate_half[:, step])


class AGAState(NamedTuple):
    """The memory of streams: at most `queue_length` steps, oldest first."""

    keys: Float[Tensor, "batch heads stored head_dim"] | Float[Tensor, "batch stored actions"]
    """Keys; with `redraw_key_dropout` the predictions that they are made of."""
    values: Float[Tensor, "batch heads stored head_dim"]
    summary: Summary
    """Of all predictions so far, stored or not; the first tensor is the query of the next step."""


class Answer(NamedTuple):
    """What a step computes from its frame and the memory."""

    logits: Float[Tensor, "batch actions"]
    fused: Float[Tensor, "batch hidden"]
    gate: Float[Tensor, "batch width"]
    """Weight of the history."""
    attention: Float[Tensor, "batch heads stored"]
    """Weight of each remembered step."""


class Step(NamedTuple):
    """One step of a forward pass."""

    state: AGAState
    """Memory before it."""
    answer: Answer
    prediction: Float[Tensor, "batch actions"]
    """What is remembered of it."""
