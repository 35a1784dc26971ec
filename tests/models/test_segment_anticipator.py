"""UAAA as a model: its training examples, its forecasts, and what these depend on."""

from functools import partial

import numpy as np
import pytest
import torch

from anticipate.datasets.batches.buckets import Draw
from anticipate.datasets.batches.dense_items import DenseItem, collate_dense
from anticipate.datasets.batches.transcripts import TranscriptDataset, collate_transcripts
from anticipate.errors import ConfigError, DataError
from anticipate.models.dense_anticipator import DenseAnticipator
from anticipate.models.segment_anticipator import SegmentAnticipator
from anticipate.nn.uaaa import UAAA
from anticipate.protocol.dense_predictions import DensePredictionsWriter
from anticipate.segments import Segments
from anticipate.types import DenseForecast

CLASSES = 5
TINY = partial(UAAA, hidden_dim=16, state_dim=24)
RECIPES = [
    Segments(np.array([0, 1, 2, 3]), np.array([10, 30, 20, 40])),
    Segments(np.array([0, 2, 1, 4]), np.array([20, 30, 10, 40])),
    Segments(np.array([3, 1, 0, 2]), np.array([30, 20, 40, 10])),
]
"""Made-up transcripts; the first two segments tell the rest."""


def make(**settings):
    torch.manual_seed(0)
    defaults = {"network": TINY, "num_samples": 4}
    model = SegmentAnticipator(CLASSES, 5, **{**defaults, **settings}).eval()
    model.length_mean.fill_(25)
    model.length_std.fill_(10)
    return model


def training_batch(transcripts=RECIPES):
    data = TranscriptDataset(transcripts)
    return collate_transcripts([data[Draw(item, 0)] for item in range(len(data))])


def item(frames, video_id, ratio=0.3):
    targets = torch.from_numpy(frames)
    features = torch.zeros(len(frames) // 10 + 1, 2)
    return DenseItem(features, targets[::5], targets, len(frames), ratio, video_id)


def videos(*ratios):
    return [
        item(recipe.to_frames(), f"v{n}", ratio)
        for (n, recipe), ratio in zip(enumerate(RECIPES), ratios, strict=True)
    ]


def train(model, steps=120):
    optimizer = torch.optim.Adam(model.network.parameters(), lr=1e-2)
    batch = training_batch()
    for _ in range(steps):
        optimizer.zero_grad()
        sum(model.losses(batch).values()).backward()
        optimizer.step()


def test_a_few_transcripts_are_reproduced_by_the_mode():
    model = make(mode=True)
    train(model)
    preds = model.forecast(collate_dense(videos(0.3, 0.3, 0.35))).preds
    assert preds.shape[0] == 1
    for row, (recipe, ratio) in enumerate(zip(RECIPES, (0.3, 0.3, 0.35), strict=True)):
        end = int((ratio + 0.5) * 100)
        found = Segments.from_frames(preds[0, row, :end].numpy())
        true = Segments.from_frames(recipe.to_frames()[:end])
        assert found.labels.tolist() == true.labels.tolist()
        np.testing.assert_allclose(found.lengths, true.lengths, atol=2)


@pytest.mark.parametrize("settings", [{}, {"length_unit": "class", "current_length": "remaining"}])
def test_forecasts_depend_on_seed_video_and_ratio_alone(settings):
    model = make(**settings)
    batch = collate_dense(videos(0.2, 0.3, 0.3))
    preds = model.forecast(batch).preds
    for row, alone in enumerate(videos(0.2, 0.3, 0.3)):
        again = model.forecast(collate_dense([alone])).preds[:, 0]
        frames = int((alone.obs_ratio + 0.5) * 100)
        torch.testing.assert_close(again[:, :frames], preds[:, row, :frames])
    first = make(num_samples=2, **settings).forecast(batch).preds
    assert torch.equal(first, preds[:2])
    other = make(seed=1, **settings).forecast(batch).preds
    renamed = collate_dense([one._replace(video_id="w") for one in videos(0.2, 0.3, 0.3)])
    assert not torch.equal(other, preds)
    assert not torch.equal(model.forecast(renamed).preds, preds)


def test_the_annotation_of_the_observed_part_stays_and_that_of_the_future_is_not_read():
    model = make(length_unit="class")
    (whole,) = videos(0.3, 0.3, 0.3)[:1]
    preds = model.forecast(collate_dense([whole])).preds
    assert torch.equal(preds[:, 0, :30], whole.frame_targets[:30].expand(4, -1))
    other = whole.frame_targets.clone()
    other[30:] = 4
    changed = whole._replace(frame_targets=other, targets=other[::5], features=whole.features + 1)
    assert torch.equal(model.forecast(collate_dense([changed])).preds, preds)
    cut = collate_dense([whole._replace(frame_targets=whole.frame_targets[:30])])
    assert torch.equal(model.forecast(cut).preds, preds)


def test_the_unit_of_a_video_is_a_sixth_and_that_of_a_class_its_spread():
    labels, num_frames = torch.tensor([[0, 1], [2, -100]]), torch.tensor([[60], [120]])
    zero, scale = make().unit(labels, num_frames)
    assert zero.tolist() == [[0], [0]]
    assert scale.tolist() == [[10], [20]]
    model = make(length_unit="class")
    model.length_mean.copy_(torch.arange(5.0))
    model.length_std.copy_(torch.arange(5.0, 10.0))
    zero, scale = model.unit(labels, num_frames)
    assert zero.tolist() == [[0, 1], [2, 0]]
    assert scale.tolist() == [[5, 6], [7, 5]]


class Sees(DenseAnticipator):
    """Says of every frame the class that most of three made-up samples say."""

    method = "Sees"

    def forecast(self, batch):
        frames = batch.frame_targets.clamp(min=0)
        return DenseForecast(torch.stack([frames * 0 + 4, frames * 0 + 1, frames * 0 + 4]))


@pytest.fixture
def predictions(tmp_path):
    """Write a predictions file of the three videos, and return what reads it."""

    def write(labels=(4, 1, 4), num_frames=80, ratio=0.3, videos=3, **about):
        path = tmp_path / "seen.h5"
        samples = np.repeat(np.array(labels)[:, None], num_frames, axis=1)
        with DensePredictionsWriter(path, **about) as writer:
            for n in range(videos):
                writer.add(f"v{n}", ratio, samples)
        return make(observation=str(path))

    return write


def test_predicted_labels_are_the_majority_and_are_named(predictions):
    batch = collate_dense(videos(0.3, 0.3, 0.3))
    watching = make(observation="runs/some")
    watching.observe(Sees(CLASSES, 5))
    assert watching.method == "UAAA (labels predicted by Sees)"
    assert not any("Sees" in name for name, _ in watching.named_modules())
    reading = predictions(method="Sees")
    assert reading.method == watching.method
    assert predictions().method == "UAAA (labels predicted by seen.h5)"
    assert make(mode=True).method == "UAAA (mode, ground truth)"
    preds = reading.forecast(batch).preds
    assert (preds[:, :, :30] == 4).all()
    assert torch.equal(watching.forecast(batch).preds, preds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": (7,)}, "has classes 7 to 7, here they are 0 to 4"),
        ({"num_frames": 20}, "v0/obs_0.3 ends at frame 20, inside the 30 observed frames"),
        ({"ratio": 0.2}, "v0/obs_0.3 is missing: predict all videos"),
        ({"videos": 2}, "v2/obs_0.3 is missing"),
    ],
)
def test_a_file_of_other_labels_is_refused(predictions, change, message):
    with pytest.raises(DataError, match=message):
        predictions(**change).forecast(collate_dense(videos(0.3, 0.3, 0.3)))


def test_a_run_that_nobody_loaded_is_refused():
    with pytest.raises(ConfigError, match=r"observation runs/some: its model is not loaded"):
        make(observation="runs/some").forecast(collate_dense(videos(0.3, 0.3, 0.3)))


@pytest.mark.parametrize("setting", [{"num_samples": 0}, {"batch_size": 0}])
def test_counts_below_one_are_refused(setting):
    with pytest.raises(ConfigError, match="expected 1 or more"):
        make(**setting)
