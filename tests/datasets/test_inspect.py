import json
import shutil
from pathlib import Path

import h5py
import pytest

from anticipate.cli import main
from anticipate.datasets.file.dense_file import DenseStore


def test_the_document_has_the_promised_keys(synthetic_file, capsys):
    main(["inspect", str(synthetic_file), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document.pop("num_frames") > 0
    assert document == {
        "dataset": "synthetic",
        "num_videos": 24,
        "num_classes": 20,
        "feature_dim": 16,
        "dtype": "float32",
        "fps": 10,
        "stride": 1,
        "synthetic": True,
        "source": "invented with seed 0",
        "splits": {"1": {"train": 12, "test": 12}, "2": {"train": 12, "test": 12}},
        "notes": {"synthesis": {"noise": 1.0, "seed": 0, "scale": 1.0}},
    }


def test_the_table_says_that_features_are_synthetic(synthetic_file, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    main(["inspect", str(synthetic_file)])
    table = capsys.readouterr().out
    assert "16 synthetic features, made from the labels; float32, every 1. frame" in table
    assert "12 train, 12 test" in table


def test_verify_says_so_when_all_is_well(synthetic_file, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    main(["inspect", str(synthetic_file), "--verify"])
    assert "all match" in capsys.readouterr().out
    main(["inspect", str(synthetic_file), "--verify", "--json"])
    assert json.loads(capsys.readouterr().out)["verified"] is True


def test_verify_lists_damage_and_fails(synthetic_file, tmp_path, capsys):
    path = Path(shutil.copy(synthetic_file, tmp_path / "copy.h5"))
    video_ids = DenseStore(path).video_ids[:4]
    with h5py.File(path, "r+") as file:
        for video_id in video_ids:
            file[f"videos/{video_id}/features"][0, 0] += 1
    with pytest.raises(SystemExit) as exit_:
        main(["inspect", str(path), "--verify", "--json"])
    assert exit_.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"copy.h5: 4 damaged arrays: /videos/{video_ids[0]}/features, " in printed.err
    assert "and 1 more; make the file again with: anticipate prepare" in printed.err


def test_a_file_that_is_no_data_file_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["inspect", str(tmp_path / "no.h5")])
    assert exit_.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_predictions_and_data_files_that_are_taken_for_each_other_are_named(
    synthetic_file, tmp_path, capsys
):
    path = tmp_path / "predictions.h5"
    with h5py.File(path, "w") as file:
        file["video/obs_0.2"] = [[1]]
    for words, message in (
        (["inspect", str(path)], "holds predictions, which anticipate score dense"),
        (["score", "dense", str(synthetic_file), "--data", "x.h5"], "a prepared data file"),
    ):
        with pytest.raises(SystemExit):
            main(words)
        assert message in capsys.readouterr().err
