"""`extends`: order of a chain, and every way to get it wrong."""

import pytest

from anticipate.config_chain import config_chain, expand_extends
from anticipate.errors import ConfigError


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
    argv = ["fit", *(word.replace("F", path) for word in words), "--seed_everything", "3"]
    expected = [
        "fit",
        "--config",
        str(files / "base.yaml"),
        "--config",
        path,
        "--seed_everything",
        "3",
    ]
    assert expand_extends(argv) == expected


def test_a_circle_is_named(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ConfigError, match=r"circular extends: a.yaml -> b.yaml -> a.yaml"):
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
        ("a: 1\nb: {c: 1,\n c: 2}\n", r"key 'c' stands twice, again in line 3"),
        ("config: b.yaml\n", r"a key 'config', which nothing reads: did you mean 'extends'\?"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(ConfigError, match=message):
        config_chain(tmp_path / "a.yaml")
