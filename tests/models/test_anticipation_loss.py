"""The weighted cross-entropy of a clip against plain numpy, in both reductions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.models.anticipation_loss import anticipation_loss, class_weights
from anticipate.types import PAD_LABEL


def reference_loss(logits, targets, weights, released):
    """Spell out both terms: every step of the batch, and once more the last steps."""
    batch, steps, _ = logits.shape
    losses = np.zeros((batch, steps))
    for row in range(batch):
        for step in range(steps):
            target = targets[row, step]
            if target != PAD_LABEL:
                scores = logits[row, step]
                probs = np.exp(scores - scores.max())
                losses[row, step] = -weights[target] * np.log(probs[target] / probs.sum())
    labelled = targets != PAD_LABEL
    counts = (batch * steps, batch) if released else (labelled.sum(), labelled[:, -1].sum())
    return losses.sum() / max(counts[0], 1) + losses[:, -1].sum() / max(counts[1], 1)


@pytest.mark.parametrize("reduction", ["mean", "released"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**20), ignored=st.sampled_from([0.0, 0.4, 1.0]))
def test_loss_equals_the_sums_spelled_out(reduction, seed, ignored):
    rng = np.random.default_rng(seed)
    batch, steps, actions = rng.integers(1, 5, 3) + 1
    logits = rng.normal(size=(batch, steps, actions)).astype(np.float32)
    targets = rng.integers(actions, size=(batch, steps))
    targets[rng.random(targets.shape) < ignored] = PAD_LABEL
    counts = rng.integers(0, 50, actions).tolist()
    weights = class_weights(counts)
    loss = anticipation_loss(
        torch.from_numpy(logits), torch.from_numpy(targets), weights, reduction
    )
    expected = reference_loss(logits, targets, weights.numpy(), reduction == "released")
    assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_without_a_single_label_there_is_no_loss_and_no_gradient():
    logits = torch.randn(2, 3, 4, requires_grad=True)
    loss = anticipation_loss(logits, torch.full((2, 3), PAD_LABEL))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_reductions_agree_when_every_step_is_labelled():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 5, generator=generator)
    targets = torch.randint(5, (3, 4), generator=generator)
    mean, released = (anticipation_loss(logits, targets, None, r) for r in ("mean", "released"))
    assert mean.item() == pytest.approx(released.item(), rel=1e-6)


def test_weights_average_one_and_fall_with_the_root_of_the_count():
    weights = class_weights([0, 3, 8, 99])
    assert weights.mean().item() == pytest.approx(1.0)
    # 1, 1/2, 1/3 and 1/10 by the formula, whatever their mean.
    assert (weights[0] / weights).tolist() == pytest.approx([1, 2, 3, 10])
