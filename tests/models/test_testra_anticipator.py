"""Training of TeSTra: its targets, its losses, the token that counts."""

from inspect import signature

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from anticipate.models import DiffusionAnticipator, TeSTraAnticipator
from anticipate.models.multi_label_loss import multi_label_loss
from anticipate.models.testra_anticipator import multi_hot
from anticipate.nn import MixANT
from anticipate.nn.testra import TeSTra
from anticipate.types import TickBatch

WORK, FEATURES = 4, 5


def windows(rows=6, seed=0):
    """Random windows of six actions; some tokens show nothing, some are mixed."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, 6, (rows, WORK + 2, 2, 1), generator=random)
    labels = torch.cat([labels, torch.full_like(labels, -1)], dim=-1)
    mixed = torch.rand(rows, WORK + 2, generator=random) < 0.5
    weights = torch.where(mixed[..., None], 0.5, torch.tensor([1.0, 0.0]))
    return TickBatch(
        features=torch.randn(rows, WORK, FEATURES, generator=random),
        padding=torch.zeros(rows, 0, dtype=torch.bool),
        labels=labels,
        weights=weights,
        tokens=torch.full((rows,), WORK + 1),
        targets=torch.randint(0, 6, (rows,), generator=random),
        frames=torch.ones(rows, 1, dtype=torch.int64),
        segment_ids=tuple(f"s{row}" for row in range(rows)),
        video_ids=("v",) * rows,
    )


def make(protocol, block="mixmamba", **settings):
    torch.manual_seed(0)
    return TeSTraAnticipator(
        6,
        FEATURES,
        protocol,
        class_counts=[1, 500, 500, 2, 500, 500],
        network=lambda *sizes: TeSTra(
            *sizes, block=block, hidden_dim=8, num_heads=2, num_experts=3
        ),
        **settings,
    )


def test_targets_equal_plain_numpy(protocol):
    batch = windows()
    verb_of = np.array(protocol.taxonomy.verbs)
    found = multi_hot(batch.labels, batch.weights, torch.from_numpy(verb_of), 2)
    expected = np.zeros((*batch.labels.shape[:2], 3))
    for row, token, source in np.ndindex(*batch.labels.shape[:3]):
        shown = {int(verb_of[a]) + 1 for a in batch.labels[row, token, source] if a >= 0} or {0}
        for column in shown:
            expected[row, token, column] += float(batch.weights[row, token, source])
    np.testing.assert_allclose(found, expected)
    assert (expected[..., 0] == 0.5).any()


def test_loss_is_that_of_actions_verbs_and_nouns_and_of_balance(protocol):
    model, batch = make(protocol, drop_rate=0.0), windows()
    model.eval()
    output = model.network(batch.features)
    expected = 0
    for name, logits in zip(("action", "verb", "noun"), output[:3], strict=True):
        targets = multi_hot(batch.labels, batch.weights, model.class_of[name], logits.shape[-1] - 1)
        expected += multi_label_loss(logits.flatten(0, 1), targets.flatten(0, 1))
    usage = output.gamma.mean(dim=2)
    balance = (usage * (3 * usage).log()).sum()
    torch.testing.assert_close(model.training_step(batch), 0.9 * expected + 0.1 * balance)
    assert model.rare.tolist() == [True, False, False, True, False, False]


def test_experts_start_and_balance_as_those_of_mixant():
    networks = (signature(network).parameters for network in (TeSTra, MixANT))
    assert len({parameters["expert_init"].default for parameters in networks}) == 1
    models = (signature(model).parameters for model in (TeSTraAnticipator, DiffusionAnticipator))
    assert len({parameters["load_balancing"].default for parameters in models}) == 1


def test_forecast_is_the_token_that_counts_without_background_or_zeros(protocol):
    model = make(protocol).eval()
    batch = windows()._replace(tokens=torch.tensor([WORK + 1, WORK, 0, -1, 2, WORK + 1]))
    found, output = model.forecast(batch), model.network(batch.features)
    for row, token in enumerate(batch.tokens.tolist()):
        for ours, theirs in zip(found, output[:3], strict=True):
            expected = torch.zeros_like(ours[row, 0]) if token < 0 else theirs[row, token, 1:]
            assert torch.equal(ours[row, 0], expected)
    assert found.evaluated.shape == (6, 6 + 2 + 3)
    assert model.method == "TeSTra (MixMamba)"


def test_verbs_and_nouns_of_heads_and_of_sums_score_apart_and_actions_alike(protocol):
    scores = {}
    for verb_noun in ("heads", "marginal"):
        model = make(protocol, verb_noun=verb_noun).eval()
        model.test_step(windows(rows=200))
        scores[verb_noun] = model.compute_scores()["overall"]
    assert scores["heads"]["action"] == scores["marginal"]["action"]
    assert scores["heads"]["noun"]["top1"] != scores["marginal"]["noun"]["top1"]


def test_learning_rate_rises_from_a_share_and_falls_along_a_cosine(protocol, make_trainer):
    rates = []

    class Recorded(TeSTraAnticipator):
        def on_train_batch_end(self, *_):
            rates.append(self.optimizers().param_groups[0]["lr"])

    model = Recorded(
        6,
        FEATURES,
        protocol,
        class_counts=[1] * 6,
        network=lambda *sizes: TeSTra(*sizes, hidden_dim=8, num_heads=2),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1.0),
        warmup_epochs=2,
    )
    data = DataLoader([windows(seed=seed) for seed in range(3)], batch_size=None)
    make_trainer(max_epochs=4).fit(model, data)
    steps = np.arange(1, 13)  # read after each step: the rate of the next
    cosine = 0.5 * (1 + np.cos(np.pi * steps / 12))
    expected = cosine * np.minimum(0.3 + 0.7 * steps / 6, 1)
    assert rates == pytest.approx(expected.tolist())
