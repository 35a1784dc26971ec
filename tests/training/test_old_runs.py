"""Runs that version 0.1.0 left are loaded, tested, reported and swept over as if they were new.

`tests/old_runs` was made with 0.1.0 by `anticipate sweep ... --profile demo --set ...` with tiny
networks; `loss_reduction` is `code` there, the name of `released` in 0.1.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

import anticipate
from anticipate.cli import main
from anticipate.datasets.prepare import main as prepare
from anticipate.errors import ConfigError
from anticipate.lab.report.runs import collect
from anticipate.training.settings import current_path, read_yaml

STORED = Path(__file__).parents[1] / "old_runs"
RUNS = {"dense": "experts/2", "short_term": "aga_ema/0.2"}
each_task = pytest.mark.parametrize("task", RUNS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the old runs and the data that they were trained on."""
    here = tmp_path_factory.mktemp("old")
    sizes = {"synthetic": ["--videos=24"], "synthetic_actions": ["--videos=20", "--segments=12"]}
    for name, size in sizes.items():
        file = str(here / "data" / f"{name}.h5")
        (here / "data").mkdir(exist_ok=True)
        prepare(["prepare", name, "--output", file, "--feature-dim=4", *size])
    shutil.copytree(STORED, here / "runs")
    return here


@pytest.fixture
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def run_of(task):
    return Path("runs") / RUNS[task] / "split_1" / "seed_0"


@each_task
def test_an_old_run_loads_with_its_weights(inside, task):
    model, data = anticipate.load(run_of(task))
    stored = torch.load(run_of(task) / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(tensor, stored[name]) for name, tensor in model.state_dict().items())
    assert data.feature_dim == 4
    assert model.loss_reduction == "released"


@pytest.mark.slow
@each_task
def test_an_old_run_tests_to_the_scores_that_it_had(inside, task):
    run = run_of(task)
    words = [
        "--config",
        str(run / "config.yaml"),
        "--ckpt_path",
        str(run / "checkpoints/last.ckpt"),
    ]
    main(["test", *words, "--run_dir=again"])
    again = Path("again", *run.parts[1:], "metrics.json")
    old, new = (json.loads(path.read_text())["scores"] for path in (run / "metrics.json", again))
    names = {method: method.replace("(decoded)", "(predicted labels)") for method in old}
    assert set(names.values()) <= set(new)
    for method, name in names.items():
        assert flat(new[name]) == pytest.approx(flat(old[method]), nan_ok=True)


def flat(scores, prefix=""):
    if not isinstance(scores, dict):
        return {prefix: float("nan") if scores is None else scores}
    return {k: v for key, part in scores.items() for k, v in flat(part, f"{prefix}/{key}").items()}


def test_old_runs_are_reported(inside):
    main(["report", "runs", "--output", "page"])
    found = collect([Path("runs")])
    assert {run.name for run in found.runs} == {"aga_ema/0.2", "experts/2", "experts/5", "mixant"}
    assert found.skipped == ()
    page = Path("page/index.html").read_text()
    assert "Experts per block" in page
    assert "Weight of the newest prediction in the query" in page


TINY = (
    *("model.denoiser.d_model=4", "model.denoiser.d_state=2", "model.denoiser.num_layers=2"),
    *("model.denoiser.num_static_layers=1", "model.num_samples=2", "model.num_inference_steps=2"),
    *("trainer.max_epochs=1", "trainer.limit_train_batches=2", "data.limit_test_videos=3"),
    *("data.batch_size=2", "model.loss_reduction=code", "figures.num_videos=1"),
    "checkpoint.save_weights_only=true",
    # the recipe as it was when they were trained
    *("model.lr_schedule=plateau", "model.plateau_patience=3", "model.warmup_steps=0"),
    *("model.ema_window=null", "model.timestep_spacing=leading"),
)


def test_a_sweep_finds_old_runs_finished(inside, capsys):
    paths = [f"experiments/ablations/{name}.yaml" for name in ("mixant", "experts/2", "experts/5")]
    main(["sweep", *paths, "--profile", "demo", "--set", *TINY, "--dry-run"])
    shown = capsys.readouterr().out
    assert shown.count("finished") == 2
    assert shown.count("same") == 1


@pytest.mark.parametrize(
    "path",
    [
        "anticipate.data.Breakfast",
        "anticipate.data.epic_kitchens.EpicKitchens100",
        "anticipate.nn.MixANT",
        "anticipate.nn.aga.network.AGA",
        "anticipate.models.DiffusionAnticipator",
        "anticipate.callbacks.ForecastFigures",
        "Salads50",
    ],
)
def test_a_class_of_ours_is_found_wherever_it_was(path):
    name = path.rpartition(".")[2]
    assert current_path(path) == f"anticipate.{name}"
    assert getattr(anticipate, name).__name__ == name


def test_classes_of_others_and_unknown_ones_stay():
    for path in ("torch.optim.AdamW", "my_module.MixANT", "anticipate.nn.Unknown", "Unknown"):
        assert current_path(path) == path


def test_renamed_and_dropped_settings_of_a_file_are_read(capsys):
    text = "results: {baselines: false}\nweights_only: null\nmodel: {loss_reduction: code}\n"
    assert read_yaml(text) == {
        "dense_results": {"baselines": False},
        "model": {"loss_reduction": "released"},
    }
    assert "loss_reduction: 'code' is called 'released' now" in capsys.readouterr().err
    arguments = "network: {expert_init_jitter: 0.1, ema_start: first, mlp_ratio: 1.0, gate: none}"
    assert read_yaml(arguments) == {"network": {"gate": "none"}}
    with pytest.raises(ConfigError, match="ema_start is 'uniform', which"):
        read_yaml("network: {ema_start: uniform}")
