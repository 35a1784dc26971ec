"""`anticipate score futures` and `score labels`: documents, tables, figures and messages."""

import json

import numpy as np
import pytest

from anticipate.cli import main
from anticipate.datasets.file.dense_file import DenseWriter, Header
from anticipate.protocol.dense_predictions import DensePredictionsWriter

CLASSES = ("a", "b", "c")
TRAIN, TEST = ("t0", "t1", "t2"), ("v0", "v1")
FRAMES = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Write five labelled videos."""
    path = tmp_path_factory.mktemp("studies") / "data.h5"
    header = Header("breakfast", "dense", 15, 1, 2, "float32", True, "made up", CLASSES)
    with DenseWriter(path, header, recipe="studies") as writer:
        for number, video_id in enumerate(TRAIN + TEST):
            labels = np.repeat((np.arange(6) + number) % 3, FRAMES // 6)
            writer.add_video(video_id, labels, [np.zeros((FRAMES, 2))], "tea")
        writer.finish({"1": {"train": TRAIN, "test": TEST}}, notes={})
    return path


def write(path, *videos, ratios=(0.2, 0.3)):
    with DensePredictionsWriter(path, method="Mine") as out:
        for video_id in videos:
            for ratio in ratios:
                preds = np.tile(np.arange(FRAMES) // 10 % 3, (3, 1))
                out.add(video_id, ratio, preds)
    return path


def document(capsys, *words):
    main([*map(str, words), "--json"])
    return json.loads(capsys.readouterr().out)


def test_a_file_and_the_baselines_are_measured_alike(data, tmp_path, capsys):
    path = write(tmp_path / "mine.h5", *TEST)
    words = ("score", "futures", path, "--data", data, "--split", 1, "--samples", 4)
    found = document(capsys, *words, "--output", tmp_path / "figures")
    names = ["Mine", "tri-gram (ground truth)", "last-label (ground truth)"]
    assert list(found) == names
    main(["score", "dense", str(path), "--data", str(data), "--split", "1", "--json"])
    dense = json.loads(capsys.readouterr().out)
    for ratio in ("0.2", "0.3"):
        mine, trigram, last = (found[name][ratio] for name in names)
        assert list(mine["top1_moc_by_samples"]) == ["1", "2", "3"]
        assert list(trigram["top1_moc_by_samples"]) == ["1", "2", "4"]
        # Three equal samples: as good as one, as sure as can be, and right by the share of frames.
        expected = np.mean(list(dense[ratio]["top1_moc"].values()))
        assert list(mine["top1_moc_by_samples"].values()) == pytest.approx([expected] * 3)
        assert mine["calibration_error"] == pytest.approx(1 - dense[ratio]["mof"]["0.5"] / 100)
        assert last["segments"] == 1.0 < last["true_segments"] == mine["true_segments"]
    made = {file.name for file in (tmp_path / "figures").glob("*.png")}
    assert made == {"top1_by_samples.png", "reliability.png", "durations.png"}


def test_the_tables_name_every_method_and_measure(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    main(["score", "futures", "--data", str(data), "--split", "1", "--samples", "2"])
    table = capsys.readouterr().out
    assert "tri-gram (ground truth)" in table
    assert "Top-1 of 2" in table
    main(["score", "futures", "--data", str(data), "--split", "1", "--samples", "1"])
    assert " - " in capsys.readouterr().out  # one sample agrees with no other
    main(["score", "labels", "--data", str(data), "--split", "1", "--samples", "2"])
    tables = capsys.readouterr().out
    assert "the length of the video" in tables
    assert "last frames (%)" in tables


def test_studies_of_labels_have_a_document_and_figures(data, tmp_path, capsys):
    words = ("score", "labels", "--data", data, "--split", 1, "--samples", 2)
    found = document(capsys, *words, "--output", tmp_path)
    assert set(found) == {"0.2", "0.3", "pred_ratios", "seconds", "accuracies"}
    recognition = found["0.2"]["recognition"]["of any activity"]
    assert len(recognition["tri-gram"]["mean_moc"]) == len(found["accuracies"])
    told = found["0.2"]["known_length"]["nothing"]
    assert len(told["seconds"]["top1_moc"]) == len(found["seconds"])
    assert {file.name for file in tmp_path.glob("*.png")} == {"known_length.png", "recognition.png"}
    assert document(capsys, *words) == found


def failure(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main([*map(str, words)])
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_mistakes_are_one_line(data, tmp_path, capsys):
    words = ("score", "futures", "--data", data, "--split", 1)
    lacking = write(tmp_path / "one.h5", "v0")
    assert "1 video without obs_0.2" in failure(capsys, *words, lacking)
    other = write(tmp_path / "other.h5", *TEST, ratios=(0.3,))
    both = write(tmp_path / "both.h5", *TEST)
    assert "equal observation ratios" in failure(capsys, *words, both, other)
    second = write(tmp_path / "two.h5", "v1")
    message = failure(capsys, *words, lacking, second, "--allow-missing")
    assert "no test video is in all predictions files" in message
    assert "no split '7'" in failure(capsys, "score", "labels", "--data", data, "--split", 7)
