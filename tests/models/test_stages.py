"""Estimates of several stages in training: all count, and single-stage networks train as before."""

from functools import partial

import lightning.pytorch as pl
import pytest
import torch
import torch.nn.functional as F

from anticipate.diffusion.objective import one_hot, reconstruction_loss
from anticipate.errors import CheckpointError, ConfigError
from anticipate.models import DiffusionAnticipator, FrameAnticipator
from anticipate.nn import GTDA, DenoiserOutput, DeterministicGTDA, MixANT, Transformer
from anticipate.nn.denoiser import Denoiser
from anticipate.nn.mixant import load_balancing_loss
from anticipate.types import PAD_LABEL, DenseBatch

CLASSES, FEATURES = 5, 7
TINY = {"d_model": 8, "num_layers": 2}
MIXANT = {**TINY, "d_state": 2, "num_static_layers": 1}


@pytest.fixture
def batch():
    """Two videos of 9 and 12 tokens, two frames each, of which 4 and 6 are observed."""
    generator, tokens = torch.Generator().manual_seed(0), torch.arange(12)
    valid = tokens < torch.tensor([[9], [12]])
    targets = torch.randint(CLASSES, (2, 12), generator=generator)
    return DenseBatch(
        features=torch.randn(2, 6, FEATURES, generator=generator),
        targets=torch.where(valid, targets, PAD_LABEL),
        observed=tokens < torch.tensor([[4], [6]]),
        valid=valid,
        frame_targets=torch.zeros(2, 0, dtype=torch.int64),
        num_frames=torch.tensor([24, 30]),
        obs_ratios=(0.3, 0.3),
        video_ids=("a", "b"),
    )


def quiet(model):
    """The model without what only a trainer has."""
    model.log = model.log_dict = lambda *values, **settings: None
    return model


def gradients(model):
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize(
    "network",
    [
        partial(MixANT, **MIXANT, num_experts=3),
        partial(MixANT, **MIXANT, num_experts=1),
        partial(Transformer, **TINY, num_heads=2),
    ],
    ids=["MixANT", "MANTA", "Transformer"],
)
def test_networks_of_one_stage_train_bit_by_bit_as_without_stages(network, batch):
    torch.manual_seed(0)
    model = quiet(DiffusionAnticipator(CLASSES, FEATURES, 2, denoiser=network))
    loss = model.training_step(batch)
    loss.backward()
    found = gradients(model)
    model.zero_grad()
    x_0 = one_hot(batch.targets, batch.valid, CLASSES)
    output = model._denoise_noisy(batch, x_0)
    reconstruction = reconstruction_loss(x_0, output.x_0, batch.valid)
    expected = 0.9 * reconstruction + 0.1 * load_balancing_loss(output.gamma)
    expected.backward()
    assert torch.equal(loss, expected)
    assert all(map(torch.equal, found, gradients(model)))
    assert len(found) > 10


class Fixed(Denoiser):
    """Says of the labels what it is told, in as many stages."""

    method = "Fixed"

    def __init__(self, stages):
        super().__init__()
        self.stages = stages

    def encode(self, features, observed):
        return observed.float().unsqueeze(-1)

    def forward(self, x_t, t, condition, observed, valid, self_cond=None):
        return DenoiserOutput(self.stages[-1], x_t.new_zeros(0, 1, len(x_t), 1), self.stages)


class Flat(Fixed):
    """Forgets the axis of the stages."""

    def forward(self, x_t, *inputs):
        return DenoiserOutput(self.stages, x_t.new_zeros(0, 1, len(x_t), 1), self.stages)


@pytest.mark.parametrize("reduction", ["mean", "released"])
def test_the_loss_adds_all_stages(batch, reduction):
    x_0 = one_hot(batch.targets, batch.valid, CLASSES)

    def loss(*stages):
        model = DiffusionAnticipator(
            CLASSES,
            FEATURES,
            2,
            denoiser=lambda *sizes: Fixed(torch.stack(stages)),
            load_balancing=0.0,
            loss_reduction=reduction,
        )
        return quiet(model).training_step(batch)

    wrong = torch.rand(x_0.shape)
    once = reconstruction_loss(x_0, wrong, batch.valid, reduction)
    assert loss(x_0, x_0, x_0) == 0
    torch.testing.assert_close(loss(wrong, wrong), 2 * once)
    torch.testing.assert_close(loss(wrong, x_0), once)


def test_stages_of_another_shape_are_refused(batch):
    flat = torch.zeros(*batch.targets.shape, CLASSES)
    model = DiffusionAnticipator(CLASSES, FEATURES, 2, denoiser=lambda *sizes: Flat(flat))
    with pytest.raises(ConfigError, match=r"returned a stage of shape \(12, 5\): expected that of"):
        model.training_step(batch)


def test_futures_do_not_depend_on_batch_and_chunks(batch):
    def forecast(batch, **settings):
        torch.manual_seed(0)
        settings = {"num_samples": 3, "num_inference_steps": 2, **settings}
        denoiser = partial(GTDA, **TINY, num_stages=2)
        model = DiffusionAnticipator(CLASSES, FEATURES, 2, denoiser=denoiser, **settings)
        return model.eval().forecast(batch).preds

    expected = forecast(batch)
    assert expected.shape == (3, 2, 24)
    assert torch.equal(forecast(batch, max_tokens=1), expected)
    first = DenseBatch(*(part[:1] for part in batch))
    masks = {name: getattr(first, name)[:, :9] for name in ("targets", "observed", "valid")}
    alone = first._replace(**masks)
    assert torch.equal(forecast(alone)[:, 0, :18], expected[:, 0, :18])


def frames(**settings):
    torch.manual_seed(0)
    network = partial(DeterministicGTDA, **TINY, num_stages=2)
    return quiet(FrameAnticipator(CLASSES, FEATURES, 2, network=network, **settings))


def test_the_loss_of_frames_is_the_cross_entropy_of_valid_tokens_in_every_stage(batch):
    model = frames().eval()
    stages = model.network(batch.features, batch.observed, batch.valid)
    expected = sum(
        F.cross_entropy(logits[batch.valid], batch.targets[batch.valid]) for logits in stages
    )
    torch.testing.assert_close(model.training_step(batch), expected)
    longer = batch._replace(
        targets=F.pad(batch.targets, (0, 5), value=PAD_LABEL),
        observed=F.pad(batch.observed, (0, 5)),
        valid=F.pad(batch.valid, (0, 5)),
    )
    torch.testing.assert_close(model.training_step(longer), expected)


def test_frames_have_one_future_that_no_label_and_no_hidden_feature_changes(batch):
    model = frames().eval()
    found = model.forecast(batch).preds
    logits = model.network(batch.features, batch.observed, batch.valid)[-1]
    assert torch.equal(found, logits.argmax(-1).repeat_interleave(2, dim=1)[None])
    seen = batch.observed[:, :6, None]
    other = batch._replace(
        targets=batch.targets.flip(0), features=torch.where(seen, batch.features, 9.0)
    )
    assert torch.equal(model.forecast(other).preds, found)
    assert model.method == "GTDA (deterministic)"


def test_dropout_of_a_step_depends_on_seed_and_step_alone(batch):
    def loss(seed):
        model = frames(seed=seed)
        torch.randn(3)
        model.on_train_batch_start(batch, 0)
        return model.training_step(batch)

    assert loss(0) == loss(0) != loss(1)


def test_a_checkpoint_of_frames_tells_its_network(tmp_path):
    model = frames()
    content = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    content["pytorch-lightning_version"] = pl.__version__
    model.on_save_checkpoint(content)
    torch.save(content, tmp_path / "model.ckpt")

    def load(**sizes):
        network = partial(DeterministicGTDA, **TINY, num_stages=2, **sizes)
        return FrameAnticipator.load_from_checkpoint(tmp_path / "model.ckpt", network=network)

    assert load().method == model.method
    with pytest.raises(CheckpointError, match=r"dropout.p = 0.4, but one with 0.3 was built"):
        load(dropout=0.3)
