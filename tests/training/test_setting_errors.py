"""Wrong settings: one line names the key, what was found and what is expected or near."""

from pathlib import Path

import pytest

from anticipate.errors import ConfigError
from anticipate.training.loading import read
from anticipate.training.settings import explain

DEMO = Path(__file__).parents[2] / "experiments" / "demo.yaml"

TYPOS = {
    "trainer: {max_epoch: 3}": "no setting 'trainer.max_epoch': did you mean 'trainer.max_epochs'?",
    "modell: 3": "no setting 'modell': did you mean 'model'?",
    "model: {init_args: {num_sampels: 3}}": (
        "model has no setting 'num_sampels': did you mean 'num_samples'?"
    ),
    "model: {init_args: {denoiser: {init_args: {d_modle: 3}}}}": (
        "model.denoiser has no setting 'd_modle': did you mean 'd_model'?"
    ),
    "model: {init_args: {optimizer: {init_args: {lrr: 3}}}}": (
        "model.optimizer has no setting 'lrr': did you mean 'lr'?"
    ),
    "model: {init_arg: {x: 1}}": "model has no setting 'init_arg.x': did you mean 'init_args'?",
    "model: {class_path: DifusionAnticipator}": (
        "model: no class or file 'DifusionAnticipator': did you mean 'DiffusionAnticipator'?"
    ),
    "data: {class_path: Syntetic}": "data: no class or file 'Syntetic': did you mean 'Synthetic'?",
}


@pytest.mark.parametrize("line", TYPOS)
def test_a_typo_in_a_file_names_the_nearest_key(tmp_path, line):
    path = tmp_path / "typo.yaml"
    path.write_text(f"extends: {DEMO}\n{line}\n")
    with pytest.raises(ConfigError) as error:
        read(["--config", str(path)])
    assert str(error.value) == TYPOS[line]


def test_a_typo_on_the_command_line_names_the_nearest_option():
    with pytest.raises(ConfigError, match=r"did you mean 'trainer.max_epochs'\?"):
        read(["--config", str(DEMO), "--trainer.max_epoch=3"])


def test_without_anything_near_the_known_names_are_listed():
    message = "does not accept option 'zzz'"
    assert explain(f"Subcommand 'fit' {message}", ["seed", "model"], []) == (
        "no setting 'zzz'; there are: model, seed"
    )


VALUES = {
    "--model.sampler=nope": "model.sampler is nope: expected one of ddim, dpmsolver++, unipc",
    "--model.denoiser=FUTR": (
        "model.denoiser is FUTR, a class of another kind: name another, or the model for FUTR"
    ),
    "--model.denoiser.num_experts=three": (
        "model.denoiser.num_experts is three: expected an integer"
    ),
    "--model.init_args.denoiser.init_args.router=nope": (
        "model.denoiser.router is nope: expected one of unified, independent"
    ),
    "--model.optimizer.lr=fast": "model.optimizer.lr is fast: expected a number",
    "--data.obs_ratios=[a]": "data.obs_ratios is a: expected a number",
    "--seed_everything=abc": "seed_everything is abc: expected an integer",
    "--seed_everything=false": "seed_everything is False: expected an integer",
    "--data=nope/x.yaml": "data: no file 'nope/x.yaml'",
    "--data=kitchen.h5": "data is kitchen.h5: a data file is given as --data.path kitchen.h5",
    "--model.denoiser=mine.Net": (
        "model.denoiser: mine.Net: no module 'mine' in the current folder or among the "
        "installed ones: start in the folder that it lies in, or add that to PYTHONPATH"
    ),
}


@pytest.mark.parametrize("word", VALUES)
def test_a_wrong_value_is_one_line_with_key_value_and_what_is_expected(word):
    with pytest.raises(ConfigError) as error:
        read(["--config", str(DEMO), word])
    assert str(error.value) == VALUES[word]


def test_an_interactive_session_finds_modules_of_its_folder(tmp_path, monkeypatch):
    (tmp_path / "settings").mkdir()
    (tmp_path / "session_module.py").write_text("from anticipate import MixANT as Net")
    network = "model: {init_args: {denoiser: session_module.Net}}"
    (tmp_path / "settings" / "own.yaml").write_text(f"extends: {DEMO}\n{network}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    assert read(["--config", "settings/own.yaml"])["run_name"] == "own"


def test_a_class_whose_module_fails_is_named_with_the_reason(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("x = y")
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "broken.yaml"
    config.write_text(f"extends: {DEMO}\nmodel: {{init_args: {{denoiser: broken_module.Net}}}}\n")
    with pytest.raises(ConfigError, match=r"^model: broken_module\.Net: .*NameError: name 'y'"):
        read(["--config", str(config)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: {}", r"no setting 'modle': did you mean 'model'\?"),
        ("trainer: {lgger: {}}", r"no setting 'trainer\.lgger': did you mean 'trainer\.logger'\?"),
        ("", "holds nothing, expected keys and values"),
    ],
)
def test_sections_without_values_are_known_or_refused(tmp_path, text, message):
    config = tmp_path / "empty.yaml"
    config.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read(["--config", str(DEMO), "--config", str(config)])
    config.write_text("trainer: {}\nmodel: {init_args: {}}\n")
    read(["--config", str(DEMO), "--config", str(config)])


def test_other_mistakes_are_one_line_without_chatter():
    message = 'Parser key "a":\n  Given value type: str\n  - Some reason'
    assert explain(message, [], []) == "a: Some reason"
