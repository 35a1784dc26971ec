"""The averaged weights follow the warm-up of the public code."""

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from anticipate.models.averaging import WarmUpEMA


# Decays computed from the public code's rule min(0.995, 1 - (1 + (step - 101))^(-2/3)).
@pytest.mark.parametrize(
    ("step", "decay"),
    [
        (100, 0.0),
        (110, 0.785),
        (200, 0.954),
        (500, 0.982),
        (1000, 0.989),
        (2000, 0.9935),
        (2930, 0.995),
        (9000, 0.995),
    ],
)
def test_decay_has_the_published_values(step, decay):
    assert WarmUpEMA().decay(step) == pytest.approx(decay, abs=5e-4)


class Walk(pl.LightningModule):
    """One weight that moves by one per step."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.modes = []

    def training_step(self, batch):
        self.modes.append(self.training)
        return -self.weight

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def fit(callback, steps, **settings):
    model = Walk()
    trainer = pl.Trainer(
        max_steps=steps,
        callbacks=callback,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **settings,
    )
    trainer.fit(model, DataLoader(torch.zeros(steps, 1)))
    return model


def reference_average(steps, update_after=100, update_every=10):
    average = 0.0
    for step in range(1, steps + 1):
        if step <= update_after:
            average = float(step)
        elif step % update_every == 0:
            decay = min(0.995, 1 - (step - update_after) ** (-2 / 3))
            average = decay * average + (1 - decay) * step
    return average


@pytest.mark.parametrize("steps", [7, 100, 109, 110, 157])
def test_average_equals_the_rule_step_by_step(steps):
    model = fit(WarmUpEMA(), steps)
    assert model.weight.item() == pytest.approx(reference_average(steps), rel=1e-5)
    assert all(model.modes)  # the average must not switch the trained model to eval mode


@pytest.mark.parametrize(("steps", "window", "decay"), [(400, 0.1, 0.75), (400, 0.01, 0.0)])
def test_a_window_is_a_share_of_the_training(steps, window, decay):
    """40 of 400 steps are four updates, so each keeps 3/4; a window is one update at least."""
    average = WarmUpEMA(window=window)
    model = fit(average, steps)
    assert average.decay(steps) == pytest.approx(decay)
    expected = 0.0
    for step in range(1, steps + 1):
        if step <= 100 or step % 10 == 0:
            kept = average.decay(step)
            expected = kept * expected + (1 - kept) * step
    assert model.weight.item() == pytest.approx(expected, rel=1e-5)
