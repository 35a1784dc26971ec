"""The past in which AGA would expect another action (AGA Sec. 3, backward analysis).

The network and the frames stay as they are; what changes are the predictions that it remembers,
by gradient descent until the target is what the last step expects:

    minimise over Z: CE(y^_T, target) + kl mean_t KL(softmax Z0_t || softmax Z_t) + l1 mean |Z - Z0|

Z are the logits of all steps before the last, Z0 those that the network predicted; query and keys
are made of Z as in a forward pass, and no step but the last is computed again. The paper has none
of the two penalties and does not name its optimiser: here it is Adam.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anticipate.errors import ConfigError
from anticipate.lab.explain.aga_run import guidance_of
from anticipate.nn.aga import AGA, AGAState

Part = Literal["both", "keys", "query"]
"""What the changed predictions are used for; the other part keeps the original ones."""

Predictions = Float[Tensor, "batch past actions"]
Answer = Callable[[Predictions], Float[Tensor, "batch actions"]]


class Descent(NamedTuple):
    """How the past is changed."""

    steps: int = 300
    """Most iterations."""
    lr: float = 0.1
    """Learning rate of Adam."""
    part: Part = "both"
    kl: float = 0.0
    """Weight of the change of the predictions, as probabilities."""
    l1: float = 0.0
    """Weight of the change of their logits."""
    last: int | None = None
    """How many steps, counted from the newest, may change; None for all."""


class Counterfactual(NamedTuple):
    """Pasts before and after, of clips that are independent of each other."""

    before: Predictions
    """Logits of all steps but the last."""
    after: Predictions
    logits_before: Float[Tensor, "batch actions"]
    """Logits of the last step."""
    logits_after: Float[Tensor, "batch actions"]
    iterations: Int[Tensor, " batch"]
    success: Bool[Tensor, " batch"]
    """Whether the target is what the last step expects most, in the end."""

    @property
    def kl(self) -> Float[Tensor, "batch past"]:
        """How far each prediction moved: KL(before || after) in nats."""
        return prediction_kl(self.before, self.after)


def change_past(
    network: AGA,
    features: Float[Tensor, "batch steps feature"],
    targets: Int[Tensor, " batch"],
    descent: Descent,
) -> Counterfactual:
    """Change the predictions that a network remembers until it expects other actions.

    A clip is done as soon as its target is the likeliest action; one that starts so is not changed.

    Args:
        network: Action-guided network in evaluation mode.
        features: Clips of at least two steps.
        targets: Action that the last step of each clip shall expect.
        descent: How the past is changed.

    Raises:
        ConfigError: No prediction plays a part in the attention, or none that a gradient reaches,
            or clips without a past.
    """
    _check(network, features.shape[1])
    with torch.no_grad():
        state, before = _remembered(network, features)
    answer = _last_step(network, features[:, -1], state, before, descent.part)
    return _descend(answer, before, targets, descent)


def prediction_kl(before: Predictions, after: Predictions) -> Float[Tensor, "batch past"]:
    """Return KL(softmax before || softmax after) of each prediction, in nats."""
    logs = before.log_softmax(dim=-1)
    # Rounding can leave the sum of terms of both signs a little below zero.
    return (logs.exp() * (logs - after.log_softmax(dim=-1))).sum(dim=-1).clamp(min=0.0)


def _check(network: AGA, num_steps: int) -> None:
    if guidance_of(network).hard_top1:
        raise ConfigError(
            "the network remembers only the best action of each step (hard_top1), which no "
            "gradient can change: explain one trained with hard_top1: false"
        )
    if num_steps < 2:
        raise ConfigError(
            f"the clips have {num_steps} step, so no past that could be another: use a run with "
            "data.num_steps of at least 2"
        )


def _remembered(
    network: AGA, features: Float[Tensor, "batch steps feature"]
) -> tuple[AGAState, Predictions]:
    """Return the memory before the last step, and the predictions of all steps before it."""
    state, predictions = network.initial_state(len(features)), []
    for step in features[:, :-1].unbind(dim=1):
        logits, state = network.step(step, state)
        predictions.append(logits)
    return state, torch.stack(predictions, dim=1)


def _last_step(
    network: AGA,
    features: Float[Tensor, "batch feature"],
    state: AGAState,
    before: Predictions,
    part: Part,
) -> Answer:
    """Return the last step as a function of the past predictions."""
    with torch.no_grad():
        original = network.with_past(state, before)

    def answer(past: Predictions) -> Float[Tensor, "batch actions"]:
        changed = network.with_past(state, past)
        if part == "keys":
            changed = changed._replace(summary=original.summary)
        elif part == "query":
            changed = changed._replace(keys=original.keys)
        return network.step(features, changed)[0]

    return answer


def _descend(
    answer: Answer, before: Predictions, targets: Int[Tensor, " batch"], descent: Descent
) -> Counterfactual:
    past = before.clone().requires_grad_()
    if descent.last is not None:
        frozen = max(0, before.shape[1] - descent.last)
        past.register_hook(lambda gradient: F.pad(gradient[:, frozen:], (0, 0, frozen, 0)))
    optimizer = torch.optim.Adam([past], lr=descent.lr)
    after, iterations = before.clone(), torch.zeros_like(targets)
    with torch.enable_grad():
        logits = answer(past)
        logits_before = logits_after = logits.detach()
        success = logits_after.argmax(dim=-1) == targets
        for _ in range(descent.steps):
            if success.all():
                break
            optimizer.zero_grad()
            _loss(logits, targets, before, past, descent).backward()
            optimizer.step()
            logits = answer(past)
            # A clip that is done keeps the past that did it; the others do not depend on it.
            after = torch.where(success[:, None, None], after, past.detach())
            logits_after = torch.where(success[:, None], logits_after, logits.detach())
            iterations = iterations + ~success
            success = success | (logits_after.argmax(dim=-1) == targets)
    return Counterfactual(before, after, logits_before, logits_after, iterations, success)


def _loss(
    logits: Float[Tensor, "batch actions"],
    targets: Int[Tensor, " batch"],
    before: Predictions,
    past: Predictions,
    descent: Descent,
) -> Float[Tensor, ""]:
    """Return the sum over the clips, so that none scales the gradient of another."""
    loss = F.cross_entropy(logits, targets, reduction="sum")
    if descent.kl:
        loss = loss + descent.kl * prediction_kl(before, past).mean(dim=1).sum()
    if descent.l1:
        loss = loss + descent.l1 * (past - before).abs().mean(dim=(1, 2)).sum()
    return loss
