"""Which files a sweep takes, and the profiles between parent and point."""

from pathlib import Path

import pytest

from anticipate.errors import ConfigError
from anticipate.sweep.experiments import find_experiments


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
    write("profiles/mixant_demo.yaml", "trainer: {max_epochs: 1}")
    return tmp_path


def paths(experiments, root):
    return [str(experiment.path.relative_to(root)) for experiment in experiments]


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


def test_without_profile_a_file_stands_alone(files):
    point = files / "ablations/experts/2.yaml"
    assert find_experiments([point])[0].configs == (point,)


def test_a_profile_stands_between_the_nearest_parent_that_has_it_and_the_point(files):
    root, point = files / "ablations/mixant.yaml", files / "ablations/experts/2.yaml"
    profile = files / "profiles/mixant_demo.yaml"
    assert find_experiments([point], "demo")[0].configs == (root, profile, point)
    assert find_experiments([root], "demo")[0].configs == (root, profile)


MISTAKES = {
    "no file or folder": ("nowhere", None),
    "no experiments": ("empty", None),
    r"has no profile 'tiny': no 2_tiny.yaml, mixant_tiny.yaml": (
        "ablations/experts/2.yaml",
        "tiny",
    ),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_said(files, message):
    (files / "empty").mkdir()
    name, profile = MISTAKES[message]
    with pytest.raises(ConfigError, match=message):
        find_experiments([Path(files / name)], profile)
