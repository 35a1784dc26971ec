"""A run of FUTR from its recipe: scores, predictions, timelines, costs, and what it refuses."""

import json

import pytest

from anticipate.cli import main
from anticipate.files import CHECKPOINT

pytestmark = pytest.mark.slow

TINY = [
    "--model.network.hidden_dim=8",
    "--model.decoding=released",
    "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu",
    "--trainer.limit_train_batches=2",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]


@pytest.fixture(scope="module")
def run(request, tmp_path_factory, synthetic_file):
    """Folder of a tiny run with the released decoding, and its settings as words."""
    folder = tmp_path_factory.mktemp("runs")
    recipe = folder / "futr.yaml"
    recipe.write_text(
        f"extends: {request.config.rootpath / 'experiments' / 'futr_breakfast.yaml'}\n"
        f"data: {{class_path: Synthetic, init_args: {{path: {synthetic_file}, sample_rate: 20}}}}\n"
    )
    words = ["--config", str(recipe), f"--run_dir={folder}", *TINY]
    main(["fit", *words])
    return folder / "futr" / "split_1" / "seed_0", words


def test_a_run_has_scores_costs_and_timelines(run):
    folder, _ = run
    metrics = json.loads((folder / "metrics.json").read_text())
    assert next(iter(metrics["scores"])) == "FUTR"
    for scores in metrics["scores"]["FUTR"].values():
        assert scores["num_samples"] == 1
        assert scores["mean_moc"] == scores["top1_moc"]  # one future
    assert "FUTR (majority)" not in metrics["scores"]
    assert metrics["efficiency"]["num_samples"] == 1
    assert metrics["efficiency"]["parameters"] > 0
    assert len(list((folder / "figures").glob("timeline_*_obs0.3.json"))) == 2


def test_predictions_score_as_the_test_does(run, synthetic_file, tmp_path, capsys):
    folder, words = run
    predictions = str(tmp_path / "predictions.h5")
    main(["predict", *words, "--ckpt_path=last", f"--predictions.path={predictions}"])
    capsys.readouterr()
    main(["score", "dense", predictions, "--data", str(synthetic_file), "--json"])
    metrics = json.loads((folder / "metrics.json").read_text())
    assert json.loads(capsys.readouterr().out) == metrics["scores"]["FUTR"]


def test_an_explanation_of_its_experts_is_refused(run, synthetic_file, tmp_path, capsys):
    ckpt, output = run[0] / CHECKPOINT, tmp_path / "explained"
    words = ["--ckpt", str(ckpt), "--data", str(synthetic_file), "--output", str(output)]
    with pytest.raises(SystemExit) as exit_:
        main(["explain", "experts", *words])
    error = capsys.readouterr().err
    assert exit_.value.code == 2
    assert error.endswith("is of a model without experts: explain one of MixANT or TeSTra\n")
    assert not output.exists()


def test_more_tokens_than_positions_are_one_line(run, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["fit", *run[1], "--run_name=short", "--model.network.max_tokens=2"])
    assert exit_.value.code == 2
    assert "positions: raise max_tokens, or sample_rate for fewer" in capsys.readouterr().err
