"""`anticipate score dense`: the scores, the JSON document and every message."""

import json

import h5py
import numpy as np
import pytest
import torch

from anticipate.cli import main
from anticipate.datasets.file.dense_file import DenseStore, DenseWriter, Header
from anticipate.protocol.dense_predictions import DensePredictionsWriter
from anticipate.protocol.dense_scores import DenseScores

CLASSES = tuple(f"class_{number}" for number in range(6))
VIDEOS = {f"video_{number}": 60 + 10 * number for number in range(8)}
TEST = tuple(VIDEOS)[:6]
NUM_SAMPLES = 4
OBS_RATIOS = (0.2, 0.3)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Write eight labelled videos, six of them the test part of split 1."""
    path = tmp_path_factory.mktemp("score") / "data.h5"
    header = Header("breakfast", "dense", 15, 1, 2, "float32", True, "made up", CLASSES)
    random = np.random.default_rng(0)
    with DenseWriter(path, header, recipe="score") as writer:
        for video_id, num_frames in VIDEOS.items():
            labels = np.repeat(random.integers(len(CLASSES), size=10), num_frames // 10)
            writer.add_video(video_id, labels, [np.zeros((num_frames, 2))], "tea")
        writer.finish({"1": {"train": list(VIDEOS)[6:], "test": list(TEST)}}, notes={})
    return path


def drawn(video_id, obs_ratio):
    """Futures of exactly the needed length, with every class id."""
    random = np.random.default_rng([int(video_id[-1]), int(10 * obs_ratio)])
    num_frames = int((obs_ratio + 0.5) * VIDEOS[video_id])
    return random.integers(len(CLASSES), size=(NUM_SAMPLES, num_frames))


def write(path, video_ids=TEST, obs_ratios=OBS_RATIOS):
    with DensePredictionsWriter(path, dataset="breakfast") as out:
        for video_id in video_ids:
            for obs_ratio in obs_ratios:
                out.add(video_id, obs_ratio, drawn(video_id, obs_ratio))
    return path


def replace(path, video_id, name, preds):
    with h5py.File(path, "r+") as file:
        del file[f"{video_id}/{name}"]
        if preds is not None:
            file[f"{video_id}/{name}"] = preds


def score(capsys, predictions, data, *options):
    main(["score", "dense", str(predictions), "--data", str(data), *options])
    return capsys.readouterr()


def failure(capsys, predictions, data, *options):
    """Return the one line that a mistake leaves on stderr (notices come before it)."""
    with pytest.raises(SystemExit) as stop:
        main(["score", "dense", str(predictions), "--data", str(data), *options])
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.splitlines()[-1]
    assert line.startswith(f"anticipate: {predictions}: ")
    return line


def expected_scores(data, video_ids, obs_ratio):
    metric = DenseScores(len(CLASSES), obs_ratio)
    with DenseStore(data) as store:
        for video_id in video_ids:
            preds, labels = drawn(video_id, obs_ratio), store.labels(video_id)
            metric.update(torch.from_numpy(preds), torch.from_numpy(labels))
    return metric.compute()


def test_json_is_one_document_with_the_scores_of_the_split(tmp_path, data, capsys):
    captured = score(capsys, write(tmp_path / "p.h5"), data, "--split", "1", "--json")
    document = json.loads(captured.out)
    assert document == {str(ratio): expected_scores(data, TEST, ratio) for ratio in OBS_RATIOS}


def test_the_layout_of_the_json_document(tmp_path, data, capsys):
    document = json.loads(score(capsys, write(tmp_path / "p.h5"), data, "--json").out)
    assert list(document) == ["0.2", "0.3"]
    horizons = dict.fromkeys(["0.1", "0.2", "0.3", "0.5"], float)
    for scores in document.values():
        types = {
            key: {pred: type(number) for pred, number in value.items()}
            for key, value in scores.items()
            if isinstance(value, dict)
        }
        assert types == dict.fromkeys(["mean_moc", "top1_moc", "mof", "frame_diversity"], horizons)
        assert (scores["num_videos"], scores["num_samples"]) == (len(TEST), NUM_SAMPLES)


def test_the_diversity_of_one_sample_is_null(tmp_path, data, capsys):
    with DensePredictionsWriter(tmp_path / "p.h5") as out:
        for video_id in TEST:
            out.add(video_id, 0.2, drawn(video_id, 0.2)[:1])
    captured = score(capsys, tmp_path / "p.h5", data, "--json")
    assert set(json.loads(captured.out)["0.2"]["frame_diversity"].values()) == {None}


def test_without_json_a_table_shows_every_measure(tmp_path, data, capsys):
    output = score(capsys, write(tmp_path / "p.h5"), data).out
    for text in ("breakfast", "p.h5", "synthetic features", "obs 0.2", "obs 0.3"):
        assert text in output
    mean_moc = expected_scores(data, TEST, 0.2)["mean_moc"]["0.1"]
    assert f"{mean_moc:.1f}" in next(row for row in output.splitlines() if "Mean MoC" in row)


def test_synthetic_data_is_named_on_stderr(tmp_path, data, capsys):
    assert "synthetic features" in score(capsys, write(tmp_path / "p.h5"), data, "--json").err


def test_without_split_every_video_of_the_file_is_scored(tmp_path, data, capsys):
    document = json.loads(score(capsys, write(tmp_path / "p.h5", VIDEOS), data, "--json").out)
    assert document["0.2"]["num_videos"] == len(VIDEOS)


def test_with_split_other_videos_are_left_out_with_a_notice(tmp_path, data, capsys):
    predictions = write(tmp_path / "p.h5", VIDEOS)
    captured = score(capsys, predictions, data, "--split", "1", "--json")
    assert json.loads(captured.out)["0.2"]["num_videos"] == len(TEST)
    assert "2 videos outside the test part of split 1" in captured.err


def test_longer_predictions_of_any_integer_type_score_the_same(tmp_path, data, capsys):
    short = score(capsys, write(tmp_path / "short.h5"), data, "--json").out
    with h5py.File(tmp_path / "long.h5", "w") as file:
        for number, video_id in enumerate(TEST):
            for ratio in OBS_RATIOS:
                preds = np.pad(drawn(video_id, ratio), ((0, 0), (0, 500)))
                dtype = ("<i2", ">i4", "<u2", "u1", "i8", "i1")[number]
                file[f"{video_id}/obs_{ratio}"] = preds.astype(dtype)
    assert score(capsys, tmp_path / "long.h5", data, "--json").out == short


def test_missing_videos_are_listed_up_to_five(tmp_path, data, capsys):
    line = failure(capsys, write(tmp_path / "p.h5", TEST[:1], [0.2]), data, "--split", "1")
    assert "5 videos without obs_0.2 (add them, or use --allow-missing): " in line
    assert line.endswith("video_1, video_2, video_3, video_4, video_5")
    with h5py.File(tmp_path / "p.h5", "r+") as file:
        del file["video_0"]
        file["video_7/obs_0.2"] = drawn("video_7", 0.2)
    line = failure(capsys, tmp_path / "p.h5", data, "--split", "1", "--allow-missing")
    assert line.endswith("video_0, video_1, video_2, video_3, video_4 and 1 more")


def test_an_observation_ratio_that_some_videos_lack_is_an_error(tmp_path, data, capsys):
    predictions = write(tmp_path / "p.h5")
    replace(predictions, "video_3", "obs_0.3", None)
    assert "1 video without obs_0.3" in failure(capsys, predictions, data)


def test_allow_missing_scores_what_is_there_and_says_how_many(tmp_path, data, capsys):
    predictions = write(tmp_path / "p.h5")
    replace(predictions, "video_3", "obs_0.3", None)
    options = ("--split", "1", "--allow-missing", "--json")
    captured = score(capsys, predictions, data, *options)
    document = json.loads(captured.out)
    assert document["0.2"] == expected_scores(data, TEST, 0.2)
    assert document["0.3"] == expected_scores(data, [v for v in TEST if v != "video_3"], 0.3)
    assert "obs_0.3: scored 5 of 6 videos" in captured.err
    assert "obs_0.2" not in captured.err


def test_unknown_videos_are_listed(tmp_path, data, capsys):
    predictions = write(tmp_path / "p.h5")
    with h5py.File(predictions, "r+") as file:
        file.move("video_0", "elsewhere")
    for options in ([], ["--split", "1"], ["--allow-missing"]):
        assert f"1 video not in {data}" in failure(capsys, predictions, data, *options)


@pytest.mark.parametrize(
    ("preds", "message"),
    [
        (
            np.zeros((NUM_SAMPLES, 61), np.int64),
            "1 video with obs_0.2 too short for the longest horizon: video_3 (61 frames, needs 62)",
        ),
        (np.full((NUM_SAMPLES, 63), 6), "class ids outside 0..5: video_3 (6..6)"),
        (np.full((NUM_SAMPLES, 63), -1), "class ids outside 0..5: video_3 (-1..-1)"),
        (np.zeros((NUM_SAMPLES, 63)), "not integers: video_3 (float64)"),
        (np.zeros((NUM_SAMPLES, 63), bool), "not integers: video_3 (bool)"),
        (
            np.zeros((NUM_SAMPLES, 63, 6), np.int64),
            "not of shape (num_samples, num_frames): video_3 (shape (4, 63, 6))",
        ),
        (
            np.zeros((0, 63), np.int64),
            "not of shape (num_samples, num_frames): video_3 (shape (0, 63))",
        ),
        (
            np.zeros((3, 63), np.int64),
            "not of 4 samples like the first video: video_3 (3 samples)",
        ),
    ],
)
def test_predictions_that_cannot_be_scored_are_named(tmp_path, data, capsys, preds, message):
    predictions = write(tmp_path / "p.h5")
    replace(predictions, "video_3", "obs_0.2", preds)
    assert message in failure(capsys, predictions, data, "--allow-missing")


def test_all_problems_are_told_at_once(tmp_path, data, capsys):
    predictions = write(tmp_path / "p.h5")
    replace(predictions, "video_1", "obs_0.2", np.zeros((NUM_SAMPLES, 5), np.int64))
    replace(predictions, "video_2", "obs_0.3", np.zeros((NUM_SAMPLES, 80)))
    replace(predictions, "video_3", "obs_0.3", None)
    line = failure(capsys, predictions, data)
    for text in ("video_1 (5 frames", "video_2 (float64)", "1 video without obs_0.3"):
        assert text in line


def test_a_damaged_file_is_an_error(tmp_path, data, capsys):
    predictions = write(tmp_path / "p.h5")
    predictions.write_bytes(predictions.read_bytes()[:2000])
    assert "cut off" in failure(capsys, predictions, data)


def test_a_missing_data_file_and_an_unknown_split_are_errors(tmp_path, data, capsys):
    predictions = write(tmp_path / "p.h5")
    for options in (["--data", str(tmp_path / "no.h5")], ["--data", str(data), "--split", "9"]):
        with pytest.raises(SystemExit):
            main(["score", "dense", str(predictions), *options])
        assert options[-1] in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["long-term"], ["dense"], ["dense", "p.h5"]])
def test_incomplete_commands_are_one_line(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["score", *argv])
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
