"""The entry point: quick, lazy, and never a stack trace for a user's mistake."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from anticipate import __version__
from anticipate.cli import COMMANDS, main


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = (
        "import sys; from anticipate.cli import main; main(['--help']); print(sorted(sys.modules))"
    )
    out = python(code)
    assert all(f"  {name} " in out for name in COMMANDS)
    assert not any(f"'{name}'" in out for name in ("torch", "lightning", "numpy", "h5py", "rich"))


def test_package_imports_without_any_dependency():
    assert "torch" not in python("import sys, anticipate; print(sorted(sys.modules))")


def test_networks_import_without_optional_packages():
    code = """
import sys
sys.modules["mamba_ssm"] = None
sys.modules["causal_conv1d"] = None
from anticipate.nn import MixANT
print(MixANT.__name__)
"""
    assert python(code).strip() == "MixANT"


def test_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"anticipate {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["fitt"], "anticipate: unknown command 'fitt': did you mean 'fit'?\n"),
        (["zzz"], "anticipate: unknown command 'zzz': choose from prepare, inspect"),
        (["inspect"], "anticipate: the following arguments are required"),
        (["inspect", "nowhere.h5"], "nowhere.h5"),
        (["score", "dense", "nowhere.h5", "--data", "nowhere.h5"], "nowhere.h5"),
        (["prepare", "breakfast"], "anticipate: the following arguments are required"),
        (["demo", "--quick"], "anticipate: unrecognized arguments: --quick"),
    ],
)
def test_mistakes_are_one_line_with_code_two(capsys, argv, message):
    with pytest.raises(SystemExit) as exit_:
        main(argv)
    captured = capsys.readouterr()
    assert exit_.value.code == 2
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_every_command_has_a_help(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit) as exit_:
            main([command, "--help"])
        assert exit_.value.code == 0
        assert command in capsys.readouterr().out


def test_each_dependency_states_its_reason():
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"].values()
    dependencies = [*project["dependencies"], *(name for extra in extras for name in extra)]
    assert len(dependencies) > 10
    for dependency in dependencies:
        line = next(row for row in text.splitlines() if f'"{dependency}"' in row)
        assert "," in line
        assert "# " in line, dependency
