"""Which past actions AGA attends to when it expects an action (AGA Sec. 3, forward analysis).

The expected action is the query, possible past actions are the keys; frames play no part. Weights
are shares of a set of candidates: they say nothing about actions outside of it.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anticipate.lab.explain.aga_run import guidance_of
from anticipate.nn.aga import AGA

Reduction = Literal["mean_logits", "mean_probs"]

CERTAINTY = 10.0
"""Logit of the action that a prediction in logit space is about; LayerNorm hides the scale."""
MOST_SCORES = 2**25
"""Attention logits held at once: 128 MiB."""


def precedence(
    network: AGA,
    expected: Sequence[int],
    candidates: Sequence[int],
    reduction: Reduction = "mean_logits",
) -> Float[np.ndarray, "expected candidates"]:
    """Return how attention to the candidates is shared when each action is expected.

    Args:
        network: Action-guided network in evaluation mode.
        expected: Actions to ask for.
        candidates: Actions that may have come before, each once.
        reduction: `mean_logits` averages the heads, then takes the softmax over the candidates
            (what AGA's authors describe); `mean_probs` takes it in each head, then averages (the
            weights that the network's attention has).

    Returns:
        Shares; each row sums to 1.

    Raises:
        ConfigError: Attention is visual.
    """
    keys = action_keys(network, candidates)
    rows = []
    with torch.inference_mode():
        for chunk in _chunks(expected, network.retrieval.num_heads * len(candidates)):
            scores = network.attention_scores(action_queries(network, chunk), keys)
            if reduction == "mean_logits":
                rows.append(scores.mean(dim=1).softmax(dim=-1))
            else:
                rows.append(scores.softmax(dim=-1).mean(dim=1))
    return torch.cat(rows).numpy()


def action_queries(network: AGA, actions: Sequence[int]) -> Float[Tensor, "queries actions"]:
    """Return what the network asks for after a single prediction, certain of one action.

    Args:
        network: Action-guided network.
        actions: The action of each query.
    """
    guidance = guidance_of(network)
    one_hot = _one_hot(network, actions)
    if guidance.query_space == "logits" and not guidance.hard_top1:
        one_hot = CERTAINTY * one_hot
    with torch.inference_mode():
        return guidance.summarise(one_hot, ())[0]


def action_keys(network: AGA, actions: Sequence[int]) -> Float[Tensor, "keys actions"]:
    """Return what the network remembers of predictions that were certain of one action each.

    Args:
        network: Action-guided network.
        actions: The action of each key.
    """
    guidance = guidance_of(network)
    one_hot = _one_hot(network, actions)
    certain = guidance.key_space == "probs" or guidance.hard_top1
    return one_hot if certain else CERTAINTY * one_hot


def _one_hot(network: AGA, actions: Sequence[int]) -> Float[Tensor, "rows actions"]:
    ids = torch.tensor(actions, dtype=torch.long)
    return F.one_hot(ids, network.num_classes).to(torch.get_default_dtype())


def _chunks(expected: Sequence[int], scores_each: int) -> Iterator[Sequence[int]]:
    size = max(1, MOST_SCORES // scores_each)
    for start in range(0, len(expected), size):
        yield expected[start : start + size]
