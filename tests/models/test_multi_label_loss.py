"""The loss of TeSTra against plain numpy."""

import numpy as np
import pytest
import torch

from anticipate.models.multi_label_loss import multi_label_loss


def draw(rows=6, classes=5, seed=0):
    random = np.random.default_rng(seed)
    targets = np.zeros((rows, classes + 1))
    targets[0, [1, 3]] = 1  # two labels
    targets[1, 0] = 1  # background
    targets[2, [0, 2]] = 0.5, 0.5  # mixed with a frame that shows nothing
    targets[3:, 4] = 1
    return random.normal(size=(rows, classes + 1)), targets


def reference(logits, targets, rare, drop):
    losses = []
    for scores, wanted in zip(logits, targets, strict=True):
        if wanted[0] == 1:
            continue
        kept = 1 - rare * drop * (1 - wanted[1:])
        weights = np.exp(scores[1:]) * (kept + 1e-8)
        losses.append(-(wanted[1:] * np.log(weights / weights.sum())).sum())
    return np.mean(losses)


@pytest.mark.parametrize("equalised", [False, True])
def test_equals_plain_numpy(equalised):
    logits, targets = draw()
    rare = np.array([True, False, True, False, True])
    found = multi_label_loss(
        torch.from_numpy(logits),
        torch.from_numpy(targets),
        torch.from_numpy(rare) if equalised else None,
        drop_rate=1.0,
    )
    assert float(found) == pytest.approx(reference(logits, targets, rare, float(equalised)))


def test_rare_classes_are_left_out_as_often_as_asked_and_repeatably():
    logits, targets = torch.zeros(20_000, 3), torch.zeros(20_000, 3)
    targets[:, 1] = 1
    rare = torch.tensor([False, True])

    def loss(seed):
        generator = torch.Generator().manual_seed(seed)
        return float(multi_label_loss(logits, targets, rare, 0.75, generator))

    # Left out, the only other class leaves nothing to lose; otherwise log 2.
    assert loss(0) == pytest.approx(0.25 * np.log(2), rel=0.05)
    assert loss(0) == loss(0) != loss(1)


def test_background_alone_is_zero_with_a_gradient_of_zero():
    logits = torch.randn(4, 6, requires_grad=True)
    targets = torch.zeros(4, 6)
    targets[:, 0] = 1
    loss = multi_label_loss(logits, targets)
    loss.backward()
    assert float(loss) == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))
