"""What a user installs: the wheel works in an empty folder, and importing it waits for nothing."""

import inspect
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Literal, get_origin

import pytest
import yaml

import anticipate
from anticipate.catalog import OPEN_PACKAGES, find, offers
from anticipate.errors import ConfigError
from anticipate.training.settings import RECIPES

ROOT = Path(__file__).parent.parent
CHOICES = [
    pytest.param(found, name, id=f"{found.__name__}-{name}")
    for package in ("nn", "models")
    for offer in offers(package).values()
    for found in [offer.load()]
    if not hasattr(found, "_fields")
    for name, parameter in inspect.signature(found).parameters.items()
    if get_origin(parameter.annotation) is Literal
]
IN_THE_WHEEL = ("anticipate", "configs", "experiments", "pyproject.toml", "README.md", "LICENSE")
BUILD = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"


@pytest.mark.parametrize(("found", "name"), CHOICES)
def test_words_that_no_argument_offers_are_refused(found, name):
    with pytest.raises(ConfigError, match=f"^{name} is 'nope': expected one of "):
        found(**{name: "nope"})


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The content of the wheel, as pip would put it into site-packages."""
    source, site = (tmp_path_factory.mktemp(name) for name in ("source", "site"))
    for name in IN_THE_WHEEL:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(ROOT / name, source / name)
    run = [sys.executable, "-c", BUILD, str(site)]
    subprocess.run(run, cwd=source, check=True, capture_output=True)
    (wheel,) = site.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run_installed(site, folder, *words):
    """Run a command of the unpacked wheel in a folder."""
    script = "import sys; sys.path.insert(0, sys.argv.pop(1)); from anticipate.cli import main; "
    return subprocess.run(
        [sys.executable, "-c", script + "main(sys.argv[1:])", str(site), *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_wheel_brings_every_recipe_and_the_evidence(installed):
    recipes = installed / "anticipate" / "recipes"
    for pattern in ("configs/**/*.yaml", "experiments/**/*.yaml", "experiments/evidence.json"):
        ours = {p.relative_to(ROOT): p.read_text() for p in ROOT.glob(pattern)}
        assert {p.relative_to(recipes): p.read_text() for p in recipes.glob(pattern)} == ours


@pytest.mark.slow
def test_a_recipe_is_found_where_the_current_folder_has_none(installed, tmp_path):
    words = ["fit", "--config", "experiments/ablations/experts/2.yaml", "--profile", "demo"]
    settings = yaml.safe_load(run_installed(installed, tmp_path, *words, "--print_config"))
    assert settings["run_name"] == "experts/2"
    assert settings["model"]["init_args"]["denoiser"]["init_args"]["num_experts"] == 2
    assert list(tmp_path.iterdir()) == []


def test_the_recipes_of_the_repository_are_those_of_the_package():
    assert (RECIPES / "experiments").resolve() == ROOT / "experiments"
    assert (RECIPES / "configs").resolve() == ROOT / "configs"


def test_everything_offered_can_be_had_from_the_front_door():
    for package in OPEN_PACKAGES:
        for name, offer in offers(package).items():
            assert find(name) == offer, f"{name} is offered twice"
            assert getattr(anticipate, name) is offer.load()
    assert {"load", "MixANT", "AGA", "Breakfast", "DenseScores", "selective_scan"} <= {
        *dir(anticipate)
    }


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'anticipate' has no attribute 'MixAMT'"):
        anticipate.MixAMT  # noqa: B018
    assert not hasattr(anticipate, "_private")
