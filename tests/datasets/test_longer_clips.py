"""Training clips that go on beyond scored ones, and the released scoring of such clips."""

import math

import pytest

from anticipate.datasets.batches.buckets import Draw
from anticipate.datasets.epic_kitchens import EpicKitchens100
from anticipate.errors import ConfigError

STARTS = (8, 9, 20, 30, 31, 60, 200)
RULSTM = {"num_steps": 11, "step_time": 0.25, "train_until": 0.25, "drift": False}


@pytest.fixture(scope="module")
def data(clip_store):
    rows = [("P01_01", start, start + 40, 1) for start in STARTS]
    path = str(clip_store(rows, rows, rows, feature_fps="30").path)

    def make(**settings):
        return EpicKitchens100(path, **{**RULSTM, **settings})

    return make


def starts(dataset):
    return dataset.rows.starts.tolist()


def asked(start, steps_back):
    """Frames of a clip, as RULSTM's paper has them: those before the video repeat the oldest."""
    frames = [start - math.ceil(7.5 * k) for k in steps_back]
    return [max(frame, min(f for f in frames if f >= 1)) for frame in frames]


def test_training_clips_go_on_and_scored_ones_are_their_beginning(data):
    train, test = data().train_dataset, data().test_dataset
    assert starts(train) == [9, 20, 30, 31, 60, 200]
    assert starts(test) == [31, 60, 200]
    for dataset, newest in ((train, 1), (test, 4)):
        for item, start in enumerate(starts(dataset)):
            clip = dataset[Draw(item, 0)]
            assert clip.frames.tolist() == asked(start, range(14, newest - 1, -1))
            assert clip.features[:, 0].tolist() == clip.frames.tolist()
    assert (test.frames[:, -1] <= test.rows.starts - 30).all()


def test_the_released_clips_keep_rows_that_see_too_late_and_are_marked(data):
    released = data(scored_clips="released")
    assert starts(released.test_dataset) == [9, 20, 30, 31, 60, 200]
    assert released.test_dataset.frames.shape[1] == 14
    early = released.test_dataset.frames[:3, 10]  # what is scored as 1 s before the action
    assert (early > released.test_dataset.rows.starts[:3] - 30).all()
    padded = data(scored_clips="released", short_past="pad").test_dataset
    assert (padded.frames[0] == 0).all()
    assert (released.caveat, data().caveat) == ("clips of RULSTM's public code", "")


def test_training_may_end_where_scoring_does(data):
    assert data(train_until=1.0).train_dataset.frames.shape[1] == 11
    assert data(train_until=None).train_dataset.frames.shape[1] == 11


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_until": 0.3}, "train_until is 0.3: expected the anticipation time 1.0 less whole"),
        ({"train_until": 1.25}, "train_until is 1.25"),
        ({"train_until": 0.0}, "train_until is 0.0"),
        ({"train_until": None, "scored_clips": "released"}, "it needs train_until"),
    ],
)
def test_times_that_do_not_fit_are_refused(data, settings, message):
    with pytest.raises(ConfigError, match=message):
        data(**settings)
