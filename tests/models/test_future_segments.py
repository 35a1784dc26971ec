"""Futures of segments: targets, losses and learning rate by plain references, forecasts."""

import math

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from anticipate.errors import ConfigError
from anticipate.horizons import evaluation_window, future_window
from anticipate.models import QueryAnticipator
from anticipate.models.future_segments import (
    class_loss,
    duration_loss,
    future_segments,
    segment_labels,
    segment_targets,
)
from anticipate.models.learning_rate import epoch_factor
from anticipate.nn import FUTR, FUTROutput
from anticipate.types import NO_LABEL, PAD_LABEL, DenseBatch

CLASSES, FEATURES, RATE = 5, 4, 3


def make_batch(lengths, ratios, seed=0, unobserved=0):
    """Random videos as the data module gives them; the last tokens may have no features."""
    random = np.random.default_rng(seed)
    videos = [np.repeat(random.integers(CLASSES, size=n), 4)[:n] for n in lengths]
    ends = [min(int((a + 0.5) * n), n) for n, a in zip(lengths, ratios, strict=True)]
    tokens = [torch.from_numpy(v[:end:RATE].copy()) for v, end in zip(videos, ends, strict=True)]
    seen = [-(-int(a * n) // RATE) - unobserved for n, a in zip(lengths, ratios, strict=True)]
    drawn = [torch.from_numpy(random.normal(size=(n, FEATURES))).float() for n in seen]
    targets = torch.nn.utils.rnn.pad_sequence(tokens, True, PAD_LABEL)
    place = torch.arange(targets.shape[1])
    whole = [torch.from_numpy(video) for video in videos]
    return DenseBatch(
        features=torch.nn.utils.rnn.pad_sequence(drawn, True),
        targets=targets,
        observed=place < torch.tensor(seen)[:, None],
        valid=targets != PAD_LABEL,
        frame_targets=torch.nn.utils.rnn.pad_sequence(whole, True, PAD_LABEL),
        num_frames=torch.tensor(lengths),
        obs_ratios=tuple(ratios),
        video_ids=tuple(f"v{number}" for number in range(len(lengths))),
    )


def reference_segments(labels, num_queries, none):
    """Segments of a window, one sampled frame after the other."""
    actions, counts = [], []
    for label in labels:
        if actions and actions[-1] == label:
            counts[-1] += 1
        else:
            actions.append(label)
            counts.append(1)
    durations = [count / len(labels) for count in counts]
    actions = [*actions, none] + [PAD_LABEL] * num_queries
    return actions[:num_queries], (durations + [0.0] * num_queries)[:num_queries]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), length=st.integers(7, 95), queries=st.integers(1, 5))
def test_targets_follow_the_reference(seed, length, queries):
    batch = make_batch([length, 61, 90], [0.2, 0.3, 0.5], seed)
    targets = segment_targets(batch, RATE, queries, CLASSES)
    for row, (num_frames, ratio) in enumerate(zip((length, 61, 90), batch.obs_ratios, strict=True)):
        labels = batch.frame_targets[row].tolist()
        past = int(ratio * num_frames)
        window = labels[past : past + int(0.5 * num_frames) : 1][::RATE]
        actions, durations = reference_segments(window, queries, CLASSES)
        assert targets.actions[row].tolist() == actions
        np.testing.assert_allclose(targets.durations[row], durations, rtol=1e-6)
        seen = labels[:past:RATE]
        padding = [PAD_LABEL] * (targets.past.shape[1] - len(seen))
        assert targets.past[row].tolist() == seen + padding


@pytest.mark.parametrize(
    ("window", "queries", "actions", "durations"),
    [
        ([3], 2, [3, 7], [1.0, 0.0]),
        ([3, 3], 1, [3], [1.0]),  # NONE does not fit
        ([3, 4, 4, 3], 2, [3, 4], [0.25, 0.5]),  # cut off; the shares stay
        ([3, 4, 4, 3], 3, [3, 4, 3], [0.25, 0.5, 0.25]),
        ([3, 4, 4, 3], 5, [3, 4, 3, 7, PAD_LABEL], [0.25, 0.5, 0.25, 0.0, 0.0]),
        ([3, 4, PAD_LABEL, PAD_LABEL], 3, [3, 4, 7], [0.5, 0.5, 0.0]),
    ],
)
def test_segments_by_hand(window, queries, actions, durations):
    found = future_segments(torch.tensor([window]), queries, 7)
    assert found[0].tolist() == [actions]
    assert found[1].tolist() == [durations]


def test_the_window_is_truncated_by_itself():
    assert future_window(90, 0.2) == (18, 63)
    assert evaluation_window(90, 0.2, 0.5) == (18, 62)  # 0.7 * 90 is below 63
    assert future_window(95, 0.3) == (28, 75)
    assert evaluation_window(95, 0.3, 0.5) == (28, 76)  # one frame more than the window has
    assert future_window(10, 0.8) == (8, 10)


def test_tokens_without_features_are_not_learned():
    batch = make_batch([61, 90], [0.3, 0.5], unobserved=2)
    past = segment_targets(batch, RATE, 4, CLASSES).past
    assert (past[1] != PAD_LABEL).all()
    assert (past[0] != PAD_LABEL).sum() == math.ceil(18 / RATE) - 2


def test_losses_follow_the_reference():
    torch.manual_seed(0)
    logits, durations = torch.randn(2, 3, 4).double(), torch.randn(2, 3).double()
    targets = torch.tensor([[1, 3, PAD_LABEL], [0, 2, 3]])
    shares = torch.tensor([[1.0, 0.0, 0.0], [0.25, 0.6, 0.0]]).double()
    probs = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(-1, keepdims=True)
    slots = [(0, 0, 1), (0, 1, 3), (1, 0, 0), (1, 1, 2), (1, 2, 3)]
    expected = np.mean([-np.log(probs[slot]) for slot in slots])
    assert class_loss(logits, targets).item() == pytest.approx(expected)
    first, second = np.exp(durations[1, :2].numpy())
    share = first / (first + second)
    errors = [0.0, (share - 0.25) ** 2, (1 - share - 0.6) ** 2]  # one slot alone is all of it
    assert duration_loss(durations, shares).item() == pytest.approx(sum(errors) / 3)


def test_a_perfect_answer_has_no_duration_loss_and_is_decoded_to_the_labels():
    batch = make_batch([60, 90], [0.2, 0.3], seed=4)
    targets = segment_targets(batch, 1, 60, CLASSES)
    durations = targets.durations.log().clamp(min=-50)
    assert duration_loss(durations, targets.durations) < 1e-12
    slots = targets.actions.masked_fill(targets.actions == PAD_LABEL, CLASSES)
    past = batch.targets[:, : batch.features.shape[1]].clamp(min=0)
    output = FUTROutput(
        torch.nn.functional.one_hot(past, CLASSES).float(),
        torch.nn.functional.one_hot(slots, CLASSES + 1).float(),
        durations,
    )
    labels = segment_labels(output, batch, RATE)
    for row, (num_frames, ratio) in enumerate(((60, 0.2), (90, 0.3))):
        start, end = future_window(num_frames, ratio)
        frames = batch.frame_targets[row]
        assert torch.equal(labels[row, start:end], frames[start:end])
        tokens = frames[:start:RATE].repeat_interleave(RATE)[:start]
        assert torch.equal(labels[row, :start], tokens)


LAST = 0.5 * (1 + math.cos(math.pi * 49 / 50))


# (e + 1) / 10 or e / 9, then (1 + cos(pi (e - 10) / (E - 10))) / 2 with E = 60.
@pytest.mark.parametrize(
    ("epoch", "corrected", "released"),
    [
        (0, 0.1, 0.0),
        (1, 0.2, 1 / 9),
        (9, 1.0, 1.0),
        (10, 1.0, 1.0),
        (59, LAST, LAST),
    ],
)
def test_learning_rate(epoch, corrected, released):
    assert epoch_factor(epoch, 60, 10, "corrected") == pytest.approx(corrected)
    assert epoch_factor(epoch, 60, 10, "released") == pytest.approx(released)


def make_model(**options):
    torch.manual_seed(0)

    def network(num_classes, feature_dim):
        return FUTR(num_classes, feature_dim, hidden_dim=8, num_queries=4, num_heads=2)

    return QueryAnticipator(CLASSES, FEATURES, RATE, network=network, **options)


class LearningRates(pl.Callback):
    """Notes the learning rate of every epoch and the weights after the first."""

    def __init__(self):
        self.rates, self.after_first = [], None

    def on_train_epoch_start(self, trainer, pl_module):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer, pl_module):
        if self.after_first is None:
            self.after_first = [p.detach().clone() for p in pl_module.network.parameters()]


@pytest.mark.parametrize("warmup", ["corrected", "released"])
def test_a_training_follows_the_learning_rate(make_trainer, warmup):
    model, noted = make_model(warmup=warmup, warmup_epochs=3), LearningRates()
    start = [parameter.detach().clone() for parameter in model.network.parameters()]
    batches = [make_batch([61, 90], [0.2, 0.5], seed) for seed in range(2)]
    trainer = make_trainer(max_epochs=6, callbacks=[noted])
    trainer.fit(model, DataLoader(batches, batch_size=None))
    expected = [1e-3 * epoch_factor(epoch, 6, 3, warmup) for epoch in range(6)]
    assert noted.rates == pytest.approx(expected)
    unchanged = all(map(torch.equal, start, noted.after_first))
    assert unchanged == (warmup == "released")  # whose first epoch has a rate of 0
    assert len(trainer.optimizers[0].param_groups) == 1  # all parameters decay
    assert {"train/loss", "train/segmentation", "train/actions", "train/durations"} <= set(
        trainer.callback_metrics
    )
    parts = [
        trainer.callback_metrics[f"train/{p}"] for p in ("segmentation", "actions", "durations")
    ]
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(
        sum(parts).item(), rel=1e-5
    )


def test_an_unknown_length_of_training_is_refused(make_trainer):
    with pytest.raises(ConfigError, match=r"set --trainer\.max_epochs"):
        make_trainer(max_epochs=-1, max_steps=3).fit(
            make_model(), DataLoader([make_batch([61], [0.2])], batch_size=None)
        )


@pytest.mark.parametrize("decoding", ["corrected", "released"])
def test_forecasts_reach_the_horizon_and_depend_on_the_observation_alone(decoding):
    model = make_model(decoding=decoding).eval()
    batch = make_batch([95, 61, 30], [0.3, 0.2, 0.2], unobserved=1)
    preds = model.forecast(batch).preds
    assert preds.shape == (1, 3, evaluation_window(95, 0.3, 0.5)[1])
    blind = batch._replace(
        targets=torch.zeros_like(batch.targets), frame_targets=torch.zeros_like(batch.frame_targets)
    )
    assert torch.equal(model.forecast(blind).preds, preds)
    padding = ~batch.observed[:, : batch.features.shape[1]].unsqueeze(-1)
    assert torch.equal(
        model.forecast(batch._replace(features=batch.features + padding)).preds, preds
    )
    for row, (num_frames, ratio) in enumerate(((95, 0.3), (61, 0.2), (30, 0.2))):
        seen = int(batch.observed[row].sum())
        alone = DenseBatch(
            *(part[row : row + 1] for part in batch[:6]), (ratio,), (f"v{row}",)
        )._replace(features=batch.features[row : row + 1, :seen])
        end = evaluation_window(num_frames, ratio, 0.5)[1]
        assert torch.equal(model.forecast(alone).preds[0, 0], preds[0, row, :end])


def test_what_the_released_decoding_leaves_open_is_no_class():
    batch = make_batch([60], [0.2])
    actions = torch.eye(CLASSES + 1)[[CLASSES, 0, CLASSES]].unsqueeze(0)  # NONE, 0, NONE
    segmentation = torch.zeros(1, batch.features.shape[1], CLASSES)
    output = FUTROutput(segmentation, actions, torch.zeros(1, 3))
    assert segment_labels(output, batch, RATE).tolist() == [[0] * 42]
    labels = segment_labels(output, batch, RATE, released=True)
    assert labels.tolist() == [[0] * 12 + [NO_LABEL] * 30]


def test_a_network_of_other_answers_is_refused():
    class Echo(torch.nn.Module):
        def forward(self, features, observed):
            return features

    model = QueryAnticipator(CLASSES, FEATURES, RATE, network=lambda c, f: Echo())
    with pytest.raises(ConfigError, match=r"Echo\.forward returned Tensor: expected FUTROutput"):
        model.forecast(make_batch([61], [0.2]))


def test_the_decoding_is_a_setting():
    with pytest.raises(
        ConfigError, match="decoding is 'code': expected one of corrected, released"
    ):
        make_model(decoding="code")
