"""Training of RULSTM: what its loss asks, what is scored, and what it refuses."""

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from anticipate.datasets.batches.clips import StepGrid
from anticipate.errors import ConfigError
from anticipate.models import RULSTMAnticipator
from anticipate.nn import RULSTM
from anticipate.types import ShortTermBatch

GRID = StepGrid(11, 0.25, 1.0)
WIDTH, ACTIONS = 5, 6


def branch(num_classes, feature_dim, **settings):
    return RULSTM(num_classes, feature_dim, hidden_dim=8, **{"dropout": 0.0, **settings})


def completing(num_classes, feature_dim):
    return branch(num_classes, feature_dim, sequence_completion=True)


def make_model(protocol, grid=GRID, network=branch, streams=None, **settings):
    pl.seed_everything(0)
    return RULSTMAnticipator(
        ACTIONS, WIDTH, protocol, grid, streams or {}, network=network, **settings
    )


def make_clips(steps=14, rows=4):
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(ACTIONS, (rows,), generator=generator)
    return ShortTermBatch(
        features=torch.randn(rows, steps, WIDTH, generator=generator),
        step_targets=targets[:, None].expand(-1, steps),
        targets=targets,
        frames=1 + torch.arange(steps).expand(rows, -1),
        segment_ids=tuple(f"s{row}" for row in range(rows)),
        video_ids=("v",) * rows,
    )


@pytest.mark.parametrize(("steps", "supervised"), [(14, 8), (11, 5)])
@pytest.mark.parametrize("network", [branch, completing])
def test_the_loss_is_the_mean_over_all_steps_after_the_first_six(
    protocol, steps, supervised, network
):
    model, clips = make_model(protocol, network=network), make_clips(steps)
    loss, _ = model.loss(clips)
    to_action = {14: 1, 11: 4}[steps]
    logits = model.network.anticipate(clips.features, to_action, network is completing)
    scores = logits.detach().double().numpy()[:, -supervised:]
    log_probs = scores - np.log(np.exp(scores).sum(axis=2, keepdims=True))
    rows = [log_probs[row, :, target] for row, target in enumerate(clips.targets.tolist())]
    assert loss.item() == pytest.approx(-np.mean(rows), rel=1e-5)


def test_what_is_scored_needs_no_later_frame_and_never_completes(protocol):
    """The public code reads the fourth step from the end of a longer clip: the same scores."""
    clips = make_clips()
    model = make_model(protocol).eval()
    shorter = clips._replace(features=clips.features[:, :11], frames=clips.frames[:, :11])
    strict, released = model.forecast(shorter).logits, model.forecast(clips).logits
    assert strict.shape == released.shape == (4, 11, ACTIONS)
    torch.testing.assert_close(strict, released)
    torch.testing.assert_close(released[:, -1], model.network.anticipate(clips.features, 1)[:, -4])
    later = clips.features.clone()
    later[:, 11:] += 1.0
    hidden = clips._replace(features=later, targets=clips.targets + 1)
    assert torch.equal(model.forecast(hidden).logits, released)
    same = make_model(protocol, network=completing).eval()
    same.network.load_state_dict(model.network.state_dict())
    assert torch.equal(same.forecast(clips).logits, released)


def test_streams_get_the_distance_to_the_action_of_scored_clips(protocol):
    model, clips = make_model(protocol).eval(), make_clips(11)
    state = model.network.initial_state(4)
    for t in range(11):
        logits, state = model.network.step(clips.features[:, t], state)
    torch.testing.assert_close(logits, model.forecast(clips).logits[:, -1])


def test_a_clip_before_which_nothing_may_be_seen_scores_zero(protocol):
    clips = make_clips(11)
    unseen = clips._replace(frames=clips.frames * torch.tensor([1, 0, 1, 0])[:, None])
    logits = make_model(protocol).eval().forecast(unseen).logits
    assert (logits[[1, 3]] == 0).all()
    assert (logits[[0, 2]] != 0).all()


def test_a_fusion_has_a_branch_of_the_width_of_each_stream(protocol):
    model = make_model(protocol, streams={"rgb": 3, "obj": 2}, fusion=True)
    assert {name: part.feature_dim for name, part in model.branches.items()} == {"rgb": 3, "obj": 2}
    assert model.method == "RULSTMFusion"
    assert model.forecast(make_clips(11)).logits.shape == (4, 11, ACTIONS)
    assert make_model(protocol, streams={"rgb": 3, "obj": 2}).branches == {}


def test_the_learning_rate_is_constant_and_steps_repeat(protocol, make_trainer):
    class Data(pl.LightningDataModule):
        def train_dataloader(self):
            return torch.utils.data.DataLoader([make_clips()] * 3, batch_size=None)

    trained = []
    for _ in range(2):
        model = make_model(
            protocol,
            network=lambda c, f: branch(c, f, dropout=0.5),
            optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
        )
        trainer = make_trainer(max_epochs=2)
        trainer.fit(model, Data())
        assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1)
        trained.append(model.network.classifier.weight)
    assert torch.equal(*trained)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fusion": True}, "fusion needs streams of features, but the data file has one without"),
        ({"grid": StepGrid(11, 0.4, 1.0)}, r"anticipation_time 1.0 is no whole steps of 0.4 s"),
        ({"encoding_steps": 11}, "expected 0 or more, fewer than the 11 steps of a clip"),
    ],
)
def test_settings_that_do_not_fit_are_refused(protocol, settings, message):
    with pytest.raises(ConfigError, match=message):
        make_model(protocol, **settings)
