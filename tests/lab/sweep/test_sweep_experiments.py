"""Which files a sweep takes."""

from pathlib import Path

import pytest

from anticipate.errors import AnticipateError, ConfigError
from anticipate.lab.sweep.plan import find_experiments
from anticipate.lab.sweep.sweep_command import main


@pytest.fixture
def files(tmp_path):
    def write(name, text=""):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    write("ablations/mixant.yaml", "run_name: mixant")
    write("ablations/experts/2.yaml", "extends: ../mixant.yaml\nrun_name: experts/2")
    write("ablations/experts/10.yaml", "extends: ../mixant.yaml\nrun_name: experts/10")
    write("ablations/experts/study.yaml", "title: no experiment")
    write("profiles/mixant_demo.yaml", "trainer: {max_epochs: 1}")
    return tmp_path


def paths(experiments, root):
    return [str(experiment.relative_to(root)) for experiment in experiments]


def test_a_folder_gives_its_files_before_those_below_and_no_profiles(files):
    found = paths(find_experiments([files]), files)
    assert found == [
        "ablations/mixant.yaml",
        "ablations/experts/10.yaml",
        "ablations/experts/2.yaml",
    ]


def test_a_file_named_twice_counts_once(files):
    point = files / "ablations/experts/2.yaml"
    assert paths(find_experiments([point, files / "ablations/experts"]), files) == [
        "ablations/experts/2.yaml",
        "ablations/experts/10.yaml",
    ]


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_mistakes_are_said(files, name):
    (files / "empty").mkdir()
    message = {"nowhere": "no file or folder", "empty": "no experiments"}[name]
    with pytest.raises(ConfigError, match=message):
        find_experiments([files / name])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("data.path=nowhere.h5", "nowhere.h5: no such data file.* anticipate prepare synthetic"),
        ("data.split=9", "no split '9'; choose one of: 1"),
    ],
)
def test_data_are_looked_for_before_the_first_run(
    experiments, monkeypatch, tmp_path, word, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AnticipateError, match=message):
        main(["sweep", str(experiments), "--set", word])
    assert not (tmp_path / "runs").exists()


def test_recipes_of_the_package_are_found_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find_experiments([Path("experiments/ablations/router")])
    assert [path.stem for path in found] == ["independent", "unified"]


def test_data_with_windows_are_looked_for_as_well(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    point = "experiments/ablations/testra_block/mamba.yaml"
    with pytest.raises(AnticipateError, match=r"nowhere.h5: no such data file"):
        main(["sweep", point, "--profile", "demo", "--set", "data.path=nowhere.h5"])
