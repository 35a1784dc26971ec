"""The probe on small files with known faults."""

import json

import h5py
import numpy as np
import pytest

from anticipate.cli import main
from anticipate.datasets.feature_probe import (
    Sample,
    dead_channels,
    mean_cosine,
    probe,
    probe_accuracy,
    strangers_cosine,
)
from anticipate.datasets.file.dense_file import DenseStore, DenseWriter, Header

CLASSES, CHANNELS, FRAMES = tuple("abcdef"), 8, 60
TRAIN, TEST = tuple(f"t{n}" for n in range(30)), tuple(f"v{n}" for n in range(20))


def clean(labels, random):
    """Values above zero that tell the class, the same video in all rows, some noise."""
    own = random.random(CHANNELS)
    return np.eye(CHANNELS)[labels] * 3 + own + 0.1 * random.random((len(labels), CHANNELS))


def write(path, change=lambda features: features, stride=2):
    header = Header("mine", "dense", 15, stride, CHANNELS, "float32", False, "made up", CLASSES)
    random = np.random.default_rng(0)
    with DenseWriter(path, header, recipe="probe") as writer:
        for video_id in TRAIN + TEST:
            labels = np.repeat(random.permutation(6), FRAMES // 6)
            features = change(clean(labels[::stride], random)).astype(np.float32)
            writer.add_video(video_id, labels, [features], "tea")
        writer.finish({"1": {"train": TRAIN, "test": TEST}}, notes={})
    return DenseStore(path)


def probed(tmp_path, change=lambda features: features):
    with write(tmp_path / "data.h5", change) as store:
        return probe(store)


def without_width(found):
    """Leave out that a tiny file has few channels."""
    assert found["differs"][0] == "8 channels (expected 2048)"
    return found["differs"][1:]


def test_sound_features_are_named_by_the_classifier(tmp_path):
    found = probed(tmp_path)
    assert without_width(found) == []
    assert found["accuracy"] == 1.0
    assert 0.15 < found["most_frequent"] < 0.2
    assert found["not_finite"] == found["negative"] == found["dead_channels"] == 0.0
    assert found["neighbours"] > found["strangers"] + 0.02
    assert (found["train_frames"], found["held_out_frames"]) == (30 * 29, 20 * 29)
    assert found["percentiles"] == sorted(found["percentiles"])


def test_a_dead_channel_is_counted_and_many_are_unlike_the_papers(tmp_path):
    def lose(number):
        return lambda features: np.where(np.arange(CHANNELS) < CHANNELS - number, features, 7.0)

    (tmp_path / "one").mkdir()
    found = probed(tmp_path / "one", lose(1))
    assert found["dead_channels"] == 1 / 8
    assert without_width(found) == []
    assert "25 % of the channels never change (few)" in probed(tmp_path, lose(2))["differs"]


def test_constant_features_say_nothing(tmp_path, recwarn):
    found = probed(tmp_path, np.ones_like)
    assert found["dead_channels"] == 1.0
    assert found["accuracy"] == pytest.approx(1 / 6, abs=0.02)
    dead, cosine, classifier = without_width(found)
    assert dead == "100 % of the channels never change (few)"
    assert cosine.startswith("neighbouring rows have a cosine of 1.00, rows of other videos 1.00")
    assert classifier.startswith("a linear classifier names")
    assert not recwarn.list


def test_features_of_zeros_are_no_division_by_zero(tmp_path, recwarn):
    found = probed(tmp_path, np.zeros_like)
    assert np.isnan(found["neighbours"])
    assert len(without_width(found)) == 3
    assert not recwarn.list


def test_nan_is_counted_and_its_frames_are_left_out(tmp_path, recwarn):
    def spoil(features):
        features[::5, 1] = np.nan
        return features

    found = probed(tmp_path, spoil)
    assert found["accuracy"] == 1.0
    (differs,) = without_width(found)
    assert differs.endswith("of the values are NaN or infinite (none)")
    assert 0.02 < found["not_finite"] < 0.03
    assert not recwarn.list
    nothing = probe_accuracy(
        *[Sample(*[np.full((4, 2), np.nan, np.float32)] * 2, np.arange(4), np.arange(4))] * 2
    )
    assert np.isnan(nothing)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda features: features - features.mean(), "of the values are negative (none)"),
        (lambda features: features[::-1], "a linear classifier names"),
        (lambda features: features.T.reshape(features.shape), "a linear classifier names"),
    ],
    ids=["centred", "reversed in time", "swapped axes"],
)
def test_faults_are_named(tmp_path, change, said):
    assert any(said in text for text in probed(tmp_path, change)["differs"])


def test_cosines_and_channels_by_hand():
    one = np.array([[1, 0], [0, 0], [np.nan, 1], [3, 4]], np.float32)
    other = np.array([[0, 1], [1, 1], [1, 1], [3, 4]], np.float32)
    assert mean_cosine(one, other) == pytest.approx(0.5)
    values = np.array([[1, 1, np.nan], [np.nan, 2, np.nan], [1, 1, np.nan]], np.float32)
    assert dead_channels(values).tolist() == [True, False, True]
    sample = Sample(one, other, np.arange(4), np.array([0, 0, 0, 0]))
    assert np.isnan(strangers_cosine(sample))


def test_the_command_is_deterministic_and_ends_with_the_verdict(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    path = str(write(tmp_path / "data.h5").path)
    documents = []
    for seed in ("0", "0", "1"):
        main(["inspect", path, "--probe", "--json", "--seed", seed])
        documents.append(json.loads(capsys.readouterr().out)["probe"])
    assert documents[0] == documents[1]
    main(["inspect", path, "--probe"])
    table = capsys.readouterr().out
    assert "unlike those of the papers: 8 channels (expected 2048)" in table
    assert "100.0 % of held-out frames" in table
    with pytest.raises(SystemExit):
        main(["inspect", path, "--probe", "--split", "9"])
    assert "no split '9'" in capsys.readouterr().err


def test_a_short_term_file_is_probed_by_its_verbs(clip_store):
    # Features are the number of the frame: verb 0 early, verb 1 late, in every video.
    segments = [("P01_1", 1, 60, 0), ("P01_1", 200, 260, 1), ("P02_1", 1, 60, 0)]
    train = [*segments * 4, ("P02_1", 200, 260, 1)]
    store = clip_store(train, segments)
    found = probe(store)
    assert found["accuracy"] == 1.0
    assert found["expected_width"] == 1024
    assert found["held_out_frames"] <= 3


def test_a_part_without_frames_is_one_line(tmp_path, capsys):
    path = write(tmp_path / "data.h5").path
    with h5py.File(path, "r+") as file:
        del file["splits/1/test"]
        file["splits/1"].create_dataset("test", shape=(0,), dtype=h5py.string_dtype())
    with pytest.raises(SystemExit):
        main(["inspect", str(path), "--probe"])
    assert "part 'test' of split 1 has no labelled frame" in capsys.readouterr().err
