"""A run of DiffAnt from its recipe: 25 futures or one, scored alike by the test and from a file."""

import json

import pytest

from anticipate.cli import main

pytestmark = pytest.mark.slow

TINY = [
    "--model.network.hidden_dim=8",
    "--model.num_inference_steps=2",
    "--model.num_samples=2",
    "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu",
    "--trainer.limit_train_batches=2",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]


@pytest.fixture(scope="module")
def run(request, tmp_path_factory, synthetic_file):
    """Folder of a tiny run, and its settings as words."""
    folder = tmp_path_factory.mktemp("runs")
    recipe = folder / "diffant.yaml"
    recipe.write_text(
        f"extends: {request.config.rootpath / 'experiments' / 'diffant_breakfast.yaml'}\n"
        f"data: {{class_path: Synthetic, init_args: {{path: {synthetic_file}, sample_rate: 20}}}}\n"
    )
    words = ["--config", str(recipe), f"--run_dir={folder}", *TINY]
    main(["fit", *words])
    return folder / "diffant" / "split_1" / "seed_0", words


def test_predictions_score_as_the_test_does(run, synthetic_file, tmp_path, capsys):
    folder, words = run
    scores = json.loads((folder / "metrics.json").read_text())["scores"]
    assert next(iter(scores)) == "DiffAnt"
    assert {one["num_samples"] for one in scores["DiffAnt"].values()} == {2}
    assert {one["num_samples"] for one in scores["DiffAnt (majority)"].values()} == {1}
    predictions = str(tmp_path / "predictions.h5")
    main(["predict", *words, "--ckpt_path=last", f"--predictions.path={predictions}"])
    capsys.readouterr()
    main(["score", "dense", predictions, "--data", str(synthetic_file), "--json"])
    found = json.loads(capsys.readouterr().out)
    for ratio, expected in scores["DiffAnt"].items():
        for measure in ("mean_moc", "top1_moc"):
            assert found[ratio][measure] == pytest.approx(expected[measure], rel=1e-12)


def test_a_trained_network_can_be_asked_for_one_future(run, synthetic_file, tmp_path, capsys):
    words = [*run[1], "--ckpt_path=last", "--model.deterministic=true"]
    scores = []
    for samples in (2, 3):  # the number of futures does not count then
        predictions = str(tmp_path / f"{samples}.h5")
        samples = f"--model.num_samples={samples}"
        main(["predict", *words, samples, f"--predictions.path={predictions}"])
        capsys.readouterr()
        main(["score", "dense", predictions, "--data", str(synthetic_file), "--json"])
        scores.append(json.loads(capsys.readouterr().out))
    assert scores[0] == scores[1]
    for one in scores[0].values():
        assert one["num_samples"] == 1
        assert one["mean_moc"] == one["top1_moc"]
