"""Settings that do not exist: the message names the nearest one that does."""

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


def test_other_mistakes_keep_their_lines_without_chatter():
    message = 'Parser key "a":\n  Given value type: str\n  Expected an int'
    assert explain(message, [], []) == 'Parser key "a":\n  Expected an int'
