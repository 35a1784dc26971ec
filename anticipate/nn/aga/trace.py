"""A forward pass of AGA with its inner workings, for explanations."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anticipate.nn.aga.state import Step


class AGATrace(NamedTuple):
    """What happened at every step of some clips."""

    logits: Float[Tensor, "batch steps actions"]
    predictions: Float[Tensor, "batch steps actions"]
    """What was remembered of each step: its logits, or what was given instead."""
    queries: Float[Tensor, "batch steps actions"]
    """Query of each step before it is encoded; zero at the first and with visual attention."""
    attention: Float[Tensor, "batch steps heads steps"]
    """Weight that each step (second axis) gives to each earlier one (last axis), elsewhere zero."""
    gate: Float[Tensor, "batch steps width"]
    """Weight of the history, zero at the first step; of width 1 for a scalar gate, 0 for none."""


def collect(steps: Sequence[Step]) -> AGATrace:
    """Return the steps of a forward pass as one trace."""
    num_steps = len(steps)
    queries = [
        step.state.summary[0] if step.state.summary else torch.zeros_like(step.answer.logits)
        for step in steps
    ]
    attention = []
    for now, step in enumerate(steps):
        weights = step.answer.attention
        attention.append(F.pad(weights, (now - weights.shape[-1], num_steps - now)))
    return AGATrace(
        logits=torch.stack([step.answer.logits for step in steps], dim=1),
        predictions=torch.stack([step.prediction for step in steps], dim=1),
        queries=torch.stack(queries, dim=1),
        attention=torch.stack(attention, dim=1),
        gate=torch.stack([step.answer.gate for step in steps], dim=1),
    )
