"""Training of step-by-step networks: the recipe, its random numbers and its scores."""

import math
from functools import partial

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from anticipate.errors import ConfigError
from anticipate.models.anticipation_loss import anticipation_loss, class_weights
from anticipate.models.dense_anticipator import DenseAnticipator
from anticipate.models.sequence_anticipator import SequenceAnticipator
from anticipate.models.short_term_anticipator import ShortTermAnticipator
from anticipate.nn import AGA
from anticipate.protocol.short_term_scores import ShortTermScores

COUNTS = (9, 4, 0, 1, 2, 30)


class Tiny(nn.Module):
    """A linear map of each frame, after dropout."""

    def __init__(self, num_classes, feature_dim):
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(feature_dim, num_classes)

    def forward(self, features):
        return self.linear(self.dropout(features))


def make_model(protocol, **settings):
    pl.seed_everything(0)
    return SequenceAnticipator(6, 5, protocol, COUNTS, network=Tiny, **settings)


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1)


class Rates(Callback):
    """Notes the learning rate of each epoch."""

    def __init__(self):
        self.seen = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


def test_learning_rate_falls_to_zero_along_a_cosine(protocol, clips, make_trainer):
    rates = Rates()
    model = make_model(protocol, optimizer=adamw)
    make_trainer(max_epochs=4, callbacks=[rates]).fit(model, clips)
    expected = [0.01 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    assert rates.seen == pytest.approx(expected)


def test_every_parameter_decays(protocol, clips, make_trainer):
    trainer = make_trainer(max_epochs=1)
    model = make_model(protocol, optimizer=adamw)
    trainer.fit(model, clips)
    (group,) = trainer.optimizers[0].param_groups
    assert group["weight_decay"] == pytest.approx(0.1)
    assert {id(tensor) for tensor in group["params"]} == {id(t) for t in model.parameters()}


@pytest.mark.parametrize("reduction", ["mean", "released"])
@pytest.mark.parametrize("weighting", [True, False])
def test_a_training_step_minimizes_the_loss_of_the_recipe(protocol, clips, reduction, weighting):
    model = make_model(protocol, loss_reduction=reduction, class_weighting=weighting).eval()
    model.log = lambda *_, **__: None
    batch = clips.batches[0]
    weights = class_weights(COUNTS) if weighting else None
    logits = model.network(batch.features)
    expected = anticipation_loss(logits, batch.step_targets, weights, reduction)
    assert torch.equal(model.training_step(batch), expected)


class Distract(Callback):
    """Draws random numbers between the steps, as figures and validation do."""

    def on_train_batch_end(self, *_):
        torch.rand(7)


@pytest.mark.parametrize(("seed", "same"), [(0, True), (1, False)])
def test_a_step_depends_on_its_seed_and_number_alone(protocol, clips, make_trainer, seed, same):
    first, second = make_model(protocol), make_model(protocol, seed=seed)
    make_trainer(max_epochs=1).fit(first, clips)
    make_trainer(max_epochs=1, callbacks=[Distract()]).fit(second, clips)
    assert torch.equal(first.network.linear.weight, second.network.linear.weight) is same


def test_a_test_scores_what_the_last_step_predicts(protocol, clips, make_trainer):
    trainer, model = make_trainer(), make_model(protocol)
    (logged,) = trainer.test(model, clips, verbose=False)
    metric = ShortTermScores(protocol)
    model.eval()
    for batch in clips.batches:
        metric.update(model.network(batch.features)[:, -1], batch.targets, batch.segment_ids)
    expected = metric.compute()["overall"]
    assert logged["test/overall/action/top1"] == pytest.approx(expected["action"]["top1"])
    assert logged["test/overall/verb/recall"] == pytest.approx(expected["verb"]["recall"])
    assert "test/num_scored" not in logged


def test_warm_up_rises_in_equal_steps(protocol, clips, make_trainer):
    model = make_model(protocol, optimizer=adamw, warmup_steps=1)
    trainer = make_trainer(max_epochs=1)
    rates = []
    model.on_before_optimizer_step = lambda optimizer: rates.append(optimizer.param_groups[0]["lr"])
    trainer.fit(model, clips)
    assert rates[:2] == pytest.approx([0.005, 0.01])
    with pytest.raises(ConfigError, match="warmup_steps is -1: expected 0 or more"):
        make_trainer(max_epochs=1).fit(make_model(protocol, warmup_steps=-1), clips)


def test_endless_training_has_no_cosine(protocol, clips, make_trainer):
    with pytest.raises(ConfigError, match=r"set --trainer\.max_epochs"):
        make_trainer(max_epochs=-1).fit(make_model(protocol), clips)


def test_the_weights_of_the_classes_are_no_part_of_a_checkpoint(protocol):
    assert set(make_model(protocol).state_dict()) == {
        "network.linear.weight",
        "network.linear.bias",
    }


@pytest.mark.parametrize("placement", ["random", "block"])
def test_noise_in_the_past_disturbs_scoring_but_not_training(
    protocol, clips, make_trainer, placement
):
    def trained(**settings):
        pl.seed_everything(0)
        network = partial(AGA, hidden_dim=8, num_heads=2)
        model = SequenceAnticipator(6, 5, protocol, COUNTS, network=network, **settings)
        make_trainer(max_epochs=1).fit(model, clips)
        return model.eval()

    plain = trained()
    perturbed = trained(perturbed_steps=2, perturbed_placement=placement)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, perturbed.state_dict()[name]), name
    batch = clips.batches[0]
    once, again = perturbed.forecast(batch).logits, perturbed.forecast(batch).logits
    assert torch.equal(once, again)
    assert not torch.equal(once, plain.forecast(batch).logits)
    # A clip meets the same noise in every batch.
    alone = batch._replace(features=batch.features[3:4], segment_ids=batch.segment_ids[3:4])
    torch.testing.assert_close(perturbed.forecast(alone).logits[0], once[3])


class Pooled(Tiny):
    """Scores a clip instead of each of its steps."""

    def forward(self, features):
        return self.linear(features.mean(dim=1))


def test_scores_of_another_shape_are_refused(protocol, clips):
    make_model(protocol).check_forecast(clips.batches[0])
    model = SequenceAnticipator(6, 5, protocol, COUNTS, network=Pooled)
    message = r"returned ShortTermForecast, torch.float32 \(8, 6\): .* scores \(8, 4, 6\)"
    with pytest.raises(ConfigError, match=message):
        model.check_forecast(clips.batches[0])


def test_a_model_without_forecast_cannot_be_made(protocol):
    with pytest.raises(ConfigError, match="ShortTermAnticipator has no method forecast"):
        ShortTermAnticipator(protocol)
    with pytest.raises(ConfigError, match="DenseAnticipator has no method forecast"):
        DenseAnticipator(3, 1)
