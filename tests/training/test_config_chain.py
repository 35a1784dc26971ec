"""`extends`: order of a chain, and every way to get it wrong."""

from pathlib import Path

import pytest

from anticipate.errors import ConfigError
from anticipate.training.settings import RECIPES, config_chain, expand


@pytest.fixture
def files(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "base.yaml").write_text("a: 1\n")
    (tmp_path / "other.yaml").write_text("a: 2\n")
    (tmp_path / "child.yaml").write_text("extends: base.yaml\n")
    (tmp_path / "deep" / "grandchild.yaml").write_text("extends: [../child.yaml, ../other.yaml]\n")
    return tmp_path


def test_parents_come_first_and_relative_to_the_naming_file(files):
    chain = config_chain(files / "deep" / "grandchild.yaml")
    assert [path.name for path in chain] == [
        "base.yaml",
        "child.yaml",
        "other.yaml",
        "grandchild.yaml",
    ]


@pytest.mark.parametrize("words", [["--config", "F"], ["-c", "F"], ["--config=F"]])
def test_every_spelling_of_config_is_expanded(files, words):
    path = str(files / "child.yaml")
    argv = [*(word.replace("F", path) for word in words), "--seed_everything", "3"]
    expected = [
        "--run_name=child",
        "--config",
        str(files / "base.yaml"),
        "--config",
        path,
        "--seed_everything",
        "3",
    ]
    assert expand(argv) == expected


def config_names(argv):
    return [Path(word).name for word in expand(argv)[1:] if word != "--config"]


def test_a_file_between_parent_and_child_beats_the_parent_alone(files):
    profile = files / "profile.yaml"
    profile.write_text("a: 3\n")
    words = ["--config", str(files / "base.yaml"), f"--config={profile}"]
    names = config_names([*words, "-c", str(files / "child.yaml")])
    assert names == ["base.yaml", "profile.yaml", "child.yaml"]


def test_parents_shared_by_two_parents_are_read_once(files):
    (files / "left.yaml").write_text("extends: base.yaml\n")
    (files / "right.yaml").write_text("extends: base.yaml\n")
    (files / "both.yaml").write_text("extends: [left.yaml, right.yaml]\n")
    chain = config_chain(files / "both.yaml")
    assert [path.name for path in chain] == ["base.yaml", "left.yaml", "right.yaml", "both.yaml"]


def test_outside_a_clone_files_extend_the_recipes_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    own = Path("experiments/mine.yaml")
    own.write_text("extends: mixant_breakfast.yaml\n")
    shipped = config_chain(RECIPES / "experiments" / "mixant_breakfast.yaml")
    assert config_chain(own) == [*shipped, own.resolve()]
    (tmp_path / "experiments" / "mixant_breakfast.yaml").write_text("seed_everything: 3\n")
    assert [path.name for path in config_chain(own)] == ["mixant_breakfast.yaml", "mine.yaml"]


def test_profiles_without_names_are_refused(files):
    (files / "own.yaml").write_text("profiles: small.yaml\n")
    with pytest.raises(ConfigError, match=r"own\.yaml: profiles is 'small\.yaml', expected names"):
        config_chain(files / "own.yaml", "small")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--profile=smal"], r"^.*own\.yaml has no profile 'smal': choose from small$"),
        (["--profile=small"], r"no configuration file .*gone\.yaml \(a profile of .*own\.yaml\)"),
        (["--profile", "--seed_everything", "3"], "--profile needs the name of a profile"),
        (["--profile"], "--profile needs the name of a profile"),
    ],
)
def test_profiles_that_cannot_be_used_are_named(files, words, message):
    (files / "own.yaml").write_text("profiles: {small: gone.yaml}\n")
    with pytest.raises(ConfigError, match=message):
        expand(["--config", str(files / "own.yaml"), *words])


@pytest.mark.parametrize("start", ["a.yaml", "deep/c.yaml"])
def test_a_circle_is_named_without_what_led_there(tmp_path, start):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.yaml").write_text("extends: deep/b.yaml\n")
    (tmp_path / "deep" / "b.yaml").write_text("extends: ../a.yaml\n")
    (tmp_path / "deep" / "c.yaml").write_text("extends: ../a.yaml\n")
    with pytest.raises(ConfigError, match=r"circular .*: a.yaml -> deep/b.yaml -> a.yaml; remove"):
        config_chain(tmp_path / start)


def test_a_file_that_extends_itself_is_a_circle(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ConfigError, match=r"circular extends in .*: a.yaml -> a.yaml;"):
        config_chain(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "extends: gone.yaml\n",
            r"no configuration file .*gone.yaml \(named by extends in .*a.yaml\)",
        ),
        ("a: [1\n", r"a.yaml is not valid YAML: .*line 2"),
        ("- 1\n", r"a.yaml holds a list, expected keys and values"),
        ("a: 1\nb: {c: 1,\n c: 2}\n", r"key 'c' is given twice, again in line 3"),
        (
            "extends: {a: b.yaml}\n",
            r"a.yaml: extends is \{'a': 'b.yaml'\}, expected a file name or",
        ),
        ("extends: [1]\n", r"a.yaml: extends is 1, expected a file name or a list of them"),
        ("config: b.yaml\n", r"a key 'config', which nothing reads: did you mean 'extends'\?"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(ConfigError, match=message):
        config_chain(tmp_path / "a.yaml")


def test_a_file_of_bytes_is_named(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match=r"a.yaml is not valid YAML: .*utf-8"):
        config_chain(tmp_path / "a.yaml")
