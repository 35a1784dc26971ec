"""What the README tells people to type works."""

import re
from pathlib import Path

import pytest
import yaml

from anticipate.cli import COMMANDS
from anticipate.training.settings import config_chain

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code):
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml_extends_a_shipped_experiment(text, tmp_path):
    content = yaml.safe_load(text)
    file = tmp_path / "mine.yaml"
    file.write_text(
        text.replace(content["extends"], str(ROOT / "experiments" / content["extends"]))
    )
    assert config_chain(file)[-1] == file.resolve()


def test_commands_and_experiments_exist():
    for command in re.findall(r"(?:^|`)anticipate ([a-z]+)", README, flags=re.MULTILINE):
        assert command in COMMANDS
    for experiment in re.findall(r"experiments/([a-z0-9_]+\.yaml)", README):
        assert experiment == "mine.yaml" or (ROOT / "experiments" / experiment).is_file()


def test_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z]+)", README, flags=re.MULTILINE):
        assert f"\n{target}:" in makefile


def test_pictures_exist():
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / picture).is_file()
