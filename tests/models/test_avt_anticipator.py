"""Training of AVT-h: its three terms against plain numpy, their gradients, and that it learns."""

from functools import partial

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from anticipate.models.avt_anticipator import AVTAnticipator
from anticipate.nn import AVT
from anticipate.types import PAD_LABEL

SMALL = partial(AVT, hidden_dim=16, num_layers=2, num_heads=2, dropout=0.0, body_dropout=0.0)


def make_model(protocol, **settings):
    pl.seed_everything(0)
    return AVTAnticipator(6, 5, protocol, network=SMALL, **settings)


def reference_terms(network, batch, released):
    """Spell out the terms of the spec, one clip and one frame at a time."""
    predicted = network.predict_features(batch.features).detach()
    final, features, past, labelled = [], [], [], 0
    for x, z, first, targets in zip(
        batch.features, predicted, batch.first_targets, batch.step_targets, strict=True
    ):
        for seen, label in zip([x[0], *z[:-1]], [first, *targets[:-1]], strict=True):
            labelled += int(label != PAD_LABEL)
            past.append(0.0 if label == PAD_LABEL else cross_entropy(network, seen, label))
        final.append(cross_entropy(network, z[-1], targets[-1]))
        features += [(z[i] - x[i + 1]).square().mean().item() for i in range(len(x) - 1)]
    return np.mean(final), np.mean(features), np.sum(past) / (len(past) if released else labelled)


def cross_entropy(network, feature, label):
    scores = network.classifier(feature).double().detach().numpy()
    return np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[label]


@pytest.mark.parametrize("reduction", ["released", "mean"])
def test_terms_are_those_of_the_spec(protocol, clips, reduction):
    weights = {"feature_weight": 2.0, "past_weight": 0.1}
    model = make_model(protocol, loss_reduction=reduction, **weights).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    batch = clips.batches[0]
    batch = batch._replace(first_targets=batch.first_targets.where(batch.targets > 2, PAD_LABEL))
    loss, terms = model.loss(batch)
    final, features, past = reference_terms(model.network, batch, reduction == "released")
    assert [*terms] == ["final", "features", "past"]
    found = [term.item() for term in terms.values()]
    assert found == pytest.approx([final, features, past], rel=1e-5)
    assert loss.item() == pytest.approx(final + 2 * features + 0.1 * past, rel=1e-5)


@pytest.mark.parametrize("first", [torch.full((8,), PAD_LABEL), None])
def test_without_past_labels_that_term_is_zero(protocol, clips, first):
    model, batch = make_model(protocol), clips.batches[0]
    targets = torch.full_like(batch.step_targets, PAD_LABEL)
    targets[:, -1] = batch.targets
    loss, terms = model.loss(batch._replace(step_targets=targets, first_targets=first))
    loss.backward()
    assert terms["past"].item() == 0
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_it_learns_eight_clips_by_heart(protocol, clips):
    model, batch = make_model(protocol), clips.batches[0]
    optimizer = torch.optim.Adam(model.network.parameters(), lr=0.01)
    for _ in range(60):
        loss, terms = model.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert terms["final"] < 0.1
    assert (model.forecast(batch).logits[:, -1].argmax(dim=1) == batch.targets).all()


def test_fit_logs_the_terms_and_scores_the_last_step(protocol, clips, make_trainer):
    trainer, model = make_trainer(max_epochs=1), make_model(protocol)
    trainer.fit(model, clips)
    logged = trainer.callback_metrics
    terms = [logged[f"train/{name}"] for name in ("final", "features", "past")]
    assert logged["train/loss"].item() == pytest.approx(sum(terms).item(), rel=1e-5)
    assert model.method == "AVT"
    model.check_forecast(clips.batches[0])
