"""A training goes on with the settings that it was started with, and its config.yaml stays.

What may change is tested in `test_training`, on a training that Ctrl-C ends.
"""

from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "--model.optimizer.lr=1e-5",
            "model.init_args.optimizer.init_args.lr was 0.005, now 1e-05",
        ),
        ("--model.denoiser.selection=soft", "selection was straight_through, now soft"),
    ],
)
def test_changed_settings_are_refused_and_nothing_is_written(
    trained_demo, refusal, option, message
):
    files = [path for path in Path().rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    more = ("fit", "--trainer.max_epochs=2", option)
    said = refusal(trained_demo, *more, "--ckpt_path=last")
    assert message in said
    assert "a training continues with the settings of runs/demo/split_1/seed_0/config.yaml" in said
    checkpoint = f"--ckpt_path={trained_demo.checkpoint}"
    assert message in refusal(trained_demo, *more, checkpoint, "--run_name=more")
    files = [path for path in Path().rglob("*") if path.is_file()]
    assert {path: path.read_bytes() for path in files} == before


def test_a_schedule_over_all_epochs_keeps_their_number(trained_aga, refusal):
    said = refusal(trained_aga, "fit", "--trainer.max_epochs=2", "--ckpt_path=last")
    assert "trainer.max_epochs was 1, now 2" in said


def test_a_new_run_from_a_finished_training_has_nothing_to_train(trained_demo, refusal):
    checkpoint = f"--ckpt_path={trained_demo.checkpoint}"
    said = refusal(trained_demo, "fit", checkpoint, "--run_name=more")
    assert "has trained 1 epochs and trainer.max_epochs is 1" in said
    assert not Path("runs/more").exists()
