"""Diffusion over the latents of future segments: losses, training, futures, refusals."""

import pytest
import torch
from torch.utils.data import DataLoader

from anticipate.diffusion.objective import add_noise
from anticipate.errors import CheckpointError, ConfigError
from anticipate.horizons import evaluation_window
from anticipate.models import LatentDiffusionAnticipator, QueryAnticipator
from anticipate.models.future_segments import segment_losses, segment_targets
from anticipate.nn import FUTR, DiffAnt
from anticipate.types import DenseBatch
from tests.models.test_future_segments import CLASSES, FEATURES, RATE, make_batch

QUERIES, HIDDEN = 4, 8


def make_model(latent="class", **options):
    torch.manual_seed(0)

    def network(num_classes, feature_dim):
        sizes = {"hidden_dim": HIDDEN, "num_queries": QUERIES, "num_heads": 2}
        return DiffAnt(num_classes, feature_dim, **sizes, latent=latent)

    options = {"num_inference_steps": 3, "num_samples": 3} | options
    return LatentDiffusionAnticipator(CLASSES, FEATURES, RATE, network=network, **options)


def one_of(batch, row):
    """A video without the others and their padding."""
    alone = DenseBatch(
        *(part[row : row + 1] for part in batch[:6]),
        batch.obs_ratios[row : row + 1],
        batch.video_ids[row : row + 1],
    )
    return alone._replace(features=alone.features[:, : int(batch.observed[row].sum())])


@pytest.mark.parametrize("latent", ["class", "class_duration"])
def test_losses_are_those_of_the_estimate(latent):
    model, batch = make_model(latent).eval(), make_batch([61, 90], [0.2, 0.5])
    torch.manual_seed(7)
    losses = model._losses(batch)
    torch.manual_seed(7)
    s = torch.randint(1000, (2,))
    noise = torch.randn(2, QUERIES, HIDDEN)
    targets = segment_targets(batch, RATE, QUERIES, CLASSES)
    z_0 = model.network.latents(targets.actions, targets.durations)
    memory = model.network.encode(batch.features, batch.observed)
    estimate = model.network(add_noise(z_0, noise, s, model.alphas_cumprod), s, memory)
    # Slots behind the list count.
    squares = [(estimate[r, q] - z_0[r, q]).square().sum() for r in (0, 1) for q in range(QUERIES)]
    expected = segment_losses(model.network.read(estimate, memory), targets)
    expected["train/latents"] = sum(squares) / len(squares) / HIDDEN
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name])


def test_a_training_repeats_itself_and_keeps_classes_apart(make_trainer):
    batches = [make_batch([61, 90], [0.2, 0.5], seed) for seed in range(2)]
    weights = []
    for _ in range(2):
        model = make_model(warmup_epochs=1)
        trainer = make_trainer(max_epochs=3)
        trainer.fit(model, DataLoader(batches, batch_size=None))
        weights.append(model.network.state_dict())
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name])
    metrics = trainer.callback_metrics
    parts = [metrics[f"train/{p}"] for p in ("segmentation", "actions", "durations", "latents")]
    assert metrics["train/loss"].item() == pytest.approx(sum(parts).item(), rel=1e-5)
    assert not torch.equal(weights[0]["embedding"], make_model().network.embedding)
    z_0 = model.network.latents(torch.arange(CLASSES + 1)[None], torch.zeros(1, CLASSES + 1))[0]
    torch.testing.assert_close(z_0.norm(dim=-1), torch.full((CLASSES + 1,), HIDDEN**0.5))
    assert torch.pdist(z_0).min() > 1


@pytest.mark.parametrize("renoise", ["forward", "ddim"])
def test_futures_depend_on_seed_video_ratio_and_sample_alone(renoise):
    model = make_model(renoise=renoise).eval()
    batch = make_batch([95, 61, 30], [0.3, 0.2, 0.2], unobserved=1)
    preds = model.forecast(batch).preds
    assert preds.shape == (3, 3, evaluation_window(95, 0.3, 0.5)[1])
    for row, (num_frames, ratio) in enumerate(((95, 0.3), (61, 0.2), (30, 0.2))):
        end = evaluation_window(num_frames, ratio, 0.5)[1]
        assert torch.equal(model.forecast(one_of(batch, row)).preds[:, 0], preds[:, row, :end])
    model.num_samples = 5
    assert torch.equal(model.forecast(batch).preds[:3], preds)
    model.num_samples = 3
    for change in (
        {"video_ids": ("a", "b", "c")},
        {"obs_ratios": (0.31, 0.21, 0.21)},  # other noise; the first frames stay
    ):
        noise = model._noise(batch._replace(**change))
        assert not torch.isclose(noise, model._noise(batch)).any()
    model.seed = 1
    assert not torch.equal(model.forecast(batch).preds, preds)


def test_every_sample_and_step_has_its_own_noise():
    model, batch = make_model(), make_batch([61, 90], [0.2, 0.5])
    noise = model._noise(batch)
    assert noise.shape == (3, 2 * 3, QUERIES, HIDDEN)
    rows = noise.flatten(0, 1).flatten(1)
    assert torch.pdist(rows).min() > 1


@pytest.mark.parametrize("renoise", ["forward", "ddim"])
def test_one_future_from_zeros_depends_on_no_seed(renoise):
    model = make_model(renoise=renoise, deterministic=True).eval()
    batch = make_batch([95, 61], [0.3, 0.2])
    preds = model.forecast(batch).preds
    assert preds.shape[0] == 1
    model.seed = 1
    other = batch._replace(video_ids=("a", "b"))
    assert torch.equal(model.forecast(other).preds, preds)
    assert not torch.equal(make_model(renoise=renoise).eval().forecast(batch).preds[:1], preds)


@pytest.mark.parametrize("decoding", ["corrected", "released"])
def test_forecasts_depend_on_the_observation_alone(decoding):
    model = make_model(decoding=decoding).eval()
    batch = make_batch([95, 61], [0.3, 0.2], unobserved=1)
    preds = model.forecast(batch).preds
    blind = batch._replace(
        targets=torch.zeros_like(batch.targets), frame_targets=torch.zeros_like(batch.frame_targets)
    )
    assert torch.equal(model.forecast(blind).preds, preds)
    padding = 9 * ~batch.observed[:, : batch.features.shape[1]].unsqueeze(-1)
    other = batch._replace(features=batch.features + padding)
    assert torch.equal(model.forecast(other).preds, preds)
    seen = batch._replace(features=batch.features + 3 * torch.randn(batch.features.shape))
    assert not torch.equal(model.forecast(seen).preds, preds)


def test_a_network_without_latents_says_the_same_as_futr():
    model = make_model().eval()
    with torch.no_grad():
        for parameter in (*model.network.noisy.parameters(), *model.network.step.parameters()):
            parameter.zero_()
    futr = QueryAnticipator(CLASSES, FEATURES, RATE, network=lambda c, f: model.network.futr)
    batch = make_batch([95, 61], [0.3, 0.2])
    expected = futr.eval().forecast(batch).preds
    assert torch.equal(model.forecast(batch).preds, expected.expand(3, -1, -1))


def test_a_checkpoint_of_another_network_is_refused():
    checkpoint = {}
    make_model().on_save_checkpoint(checkpoint)
    make_model().on_load_checkpoint(checkpoint)
    other = LatentDiffusionAnticipator(CLASSES, FEATURES, RATE)
    with pytest.raises(CheckpointError, match="the checkpoint is of a network with"):
        other.on_load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_samples": 0}, "num_samples is 0: expected 1 or more"),
        ({"num_inference_steps": 1001}, "must lie between 1 and num_train_timesteps .* got 1001"),
        ({"noise": "linear"}, "noise is 'linear': expected one of cosine, sqrt"),
        ({"renoise": "back"}, "renoise is 'back': expected one of forward, ddim"),
        ({"decoding": "code"}, "decoding is 'code': expected one of corrected, released"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        make_model(**wrong)


def test_a_network_without_latents_is_refused():
    with pytest.raises(ConfigError, match="FUTR takes features, observed, but Latent"):
        LatentDiffusionAnticipator(CLASSES, FEATURES, RATE, network=FUTR)
