"""What tests and predictions of short-term models leave behind."""

import json

import h5py
import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from anticipate.datasets import SyntheticActions
from anticipate.figures.saved import read_scored_videos
from anticipate.models import SequenceAnticipator
from anticipate.protocol.measures import named_scores
from anticipate.protocol.short_term_baselines import FrequencyPrior
from anticipate.protocol.short_term_scores import ShortTermScores
from anticipate.protocol.video_recalls import Recalls, balanced, recall_of
from anticipate.training.callbacks.short_term_results import (
    FREQUENCY,
    REPEAT,
    ShortTermResults,
    last_actions,
)
from anticipate.training.callbacks.write_predictions import PredictionsFile


class Tiny(nn.Module):
    """A linear map of each frame, which fails at one call."""

    def __init__(self, num_classes, feature_dim, fails_at):
        super().__init__()
        self.linear = nn.Linear(feature_dim, num_classes)
        self.calls_left = fails_at

    def forward(self, features):
        self.calls_left -= 1
        if self.calls_left == 0:
            raise RuntimeError("out of memory")
        return self.linear(features)


@pytest.fixture
def data(actions_file):
    return SyntheticActions(str(actions_file), num_steps=2, eval_batch_size=7)


@pytest.fixture
def make_model(data):
    def make(fails_at=0):
        torch.manual_seed(0)
        facts = (data.num_classes, data.feature_dim, data.protocol, data.class_counts)
        return SequenceAnticipator(*facts, network=lambda c, f: Tiny(c, f, fails_at))

    return make


@pytest.fixture
def make_trainer(tmp_path):
    def make(callback):
        return pl.Trainer(
            accelerator="cpu",
            logger=TensorBoardLogger(tmp_path, name="", version="run"),
            callbacks=[callback],
            enable_progress_bar=False,
            enable_checkpointing=False,
        )

    return make


def scored_at_once(data, logits):
    batches = list(data.test_dataloader())
    metric = ShortTermScores(data.protocol)
    segment_ids = [segment_id for batch in batches for segment_id in batch.segment_ids]
    targets = torch.cat([batch.targets for batch in batches])
    metric.update(torch.from_numpy(logits(segment_ids)), targets, segment_ids)
    return named_scores(metric.compute())


def test_baselines_stand_beside_the_model_with_their_own_scores(
    data, make_model, make_trainer, tmp_path, capsys
):
    make_trainer(ShortTermResults()).test(make_model(), data, verbose=False)
    document = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert list(document["scores"]) == ["Tiny", FREQUENCY, REPEAT]
    prior = FrequencyPrior(data.class_counts)
    expected = scored_at_once(data, lambda ids: prior.forecast(len(ids)))
    assert named_scores(document["scores"][FREQUENCY]) == pytest.approx(expected)
    last = last_actions(data)

    def repeated(segment_ids):
        logits = prior.forecast(len(segment_ids))
        for row, segment_id in enumerate(segment_ids):
            if last[segment_id] >= 0:
                logits[row, last[segment_id]] = 1e6
        return logits

    expected = scored_at_once(data, repeated)
    for name in ("overall/action", "unseen/action", "tail/action"):
        assert named_scores(document["scores"][REPEAT])[name] == pytest.approx(expected[name])
    out = capsys.readouterr().out
    assert f"{document['num_scored']} of {data.test_segments.num_rows} rows" in " ".join(
        out.split()
    )


def test_hits_of_videos_add_up_to_the_scores(data, make_model, make_trainer, tmp_path):
    trainer = make_trainer(ShortTermResults())
    trainer.test(make_model(), data, verbose=False)
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())["scores"]
    scored = read_scored_videos(tmp_path / "run" / "figures", "test")
    assert list(scored.hits) == list(scores)
    videos = data.test_segments.video_ids
    assert set(scored.participants) == {data.store.participant(video) for video in videos}
    for method, hits in scored.hits.items():
        for task, rows in scored.rows.items():
            recalls = Recalls(rows, hits[task])
            groups = (scored.unseen, ~scored.unseen)
            found = [recall_of(balanced(recalls, videos)) for videos in groups]
            expected = [scores[method][group][task] for group in ("unseen", "seen")]
            assert found == pytest.approx(expected)


def test_validation_leaves_the_hits_of_held_out_training_videos(
    actions_file, make_model, make_trainer, tmp_path
):
    data = SyntheticActions(str(actions_file), num_steps=2, validation_fraction=0.2)
    make_trainer(ShortTermResults()).validate(make_model(), data, verbose=False)
    scored = read_scored_videos(tmp_path / "run" / "figures", "val")
    assert list(scored.hits) == ["Tiny"]
    assert scored.rows["action"].sum() == len(data.val_dataset)
    assert len(scored.participants) == len(set(data.val_segments.video_ids))
    assert not scored.unseen.any()


def test_the_last_action_began_before_the_clip_ended(data):
    segments, last = data.test_segments, last_actions(data)
    for row, segment_id in enumerate(segments.segment_ids):
        begun = [
            (start, other)
            for other, (video, start) in enumerate(
                zip(segments.video_ids, segments.starts.tolist(), strict=True)
            )
            if video == segments.video_ids[row] and start <= segments.starts[row] - 30
        ]
        assert last[segment_id] == (segments.actions[max(begun)[1]] if begun else -1)


def test_without_baselines_the_model_stands_alone(data, make_model, make_trainer, tmp_path):
    make_trainer(ShortTermResults(baselines=False)).test(make_model(), data, verbose=False)
    document = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert list(document["scores"]) == ["Tiny"]


def test_predictions_are_what_the_last_step_says_of_every_row(
    data, make_model, make_trainer, tmp_path
):
    model = make_model()
    make_trainer(PredictionsFile()).predict(model, data, return_predictions=False)
    with h5py.File(tmp_path / "run" / "predictions.h5") as file:
        written = dict(zip(file["id"].asstr()[:], file["action"][:], strict=True))
    batches = list(data.test_dataloader())
    assert len(written) == sum(len(batch.segment_ids) for batch in batches)
    for batch in batches:
        logits = model.network(batch.features)[:, -1].detach().numpy()
        found = np.stack([written[segment_id] for segment_id in batch.segment_ids])
        np.testing.assert_allclose(found, logits, rtol=1e-6)


def test_a_prediction_that_fails_half_way_leaves_no_file(data, make_model, make_trainer, tmp_path):
    with pytest.raises(RuntimeError, match="out of memory"):
        make_trainer(PredictionsFile()).predict(make_model(fails_at=3), data)
    assert not list(tmp_path.rglob("predictions*"))
