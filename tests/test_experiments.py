"""Every shipped YAML is parsed against the real signatures, built, and run."""

from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from pkgutil import resolve_name

import h5py
import numpy as np
import pytest
import torch
import yaml

from anticipate.catalog import data_sets
from anticipate.cli import main
from anticipate.lab.studies import STUDY_FILE
from anticipate.training.lightning_cli import FROM_DATA
from anticipate.training.settings import config_chain, run_name

ROOT = Path(__file__).parent.parent
EXPERIMENTS = sorted(
    path
    for path in (ROOT / "experiments").rglob("*.yaml")
    if not {"ablations", "profiles"} & set(path.relative_to(ROOT).parts)
)
STEPPED = [
    path
    for path in EXPERIMENTS
    if path.parent.name == "experiments" or path.stem in ("rgb_completion", "fusion")
]
"""Of a chain the first and the last one: those between differ in a stream or a weight file."""
ABLATIONS = sorted(  # run by test_ablations
    path for path in (ROOT / "experiments" / "ablations").rglob("*.yaml") if path.name != STUDY_FILE
)
PROFILES = sorted((ROOT / "experiments" / "profiles").glob("*.yaml"))
FRAGMENTS = sorted((ROOT / "configs").rglob("*.yaml"))
RECIPE_FRAGMENTS = [path for path in FRAGMENTS if path.parent.name != "data"]
TINY = [
    "--data.batch_size=2",
    "--data.eval_batch_size=2",
    "--trainer.accelerator=cpu",
    "--trainer.fast_dev_run=true",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
SAMPLING = ["--model.num_samples=2", "--model.num_inference_steps=2"]
TINY_MODELS = {
    "MixANT": ["--model.denoiser.d_model=8", "--model.denoiser.d_state=2", *SAMPLING],
    "FUTR": ["--model.network.hidden_dim=8"],
    "UAAA": [
        "--model.network.hidden_dim=8",
        "--model.network.state_dim=8",
        "--model.num_samples=2",
    ],
    "GTDA": ["--model.denoiser.d_model=8", *SAMPLING],
    "DeterministicGTDA": ["--model.network.d_model=8"],
    "DiffAnt": ["--model.network.hidden_dim=8", *SAMPLING],
    "AGA": ["--model.network.hidden_dim=8", "--model.network.num_heads=2"],
    "AVT": ["--model.network.hidden_dim=8", "--model.network.num_heads=2"],
    "TeSTra": ["--model.network.hidden_dim=8", "--model.network.num_heads=2"],
    "RULSTM": ["--model.network.hidden_dim=8", "--init_from=null"],
}
"""Options that make a network small, and its experiment independent of others."""


def name_of(path):
    return str(path.relative_to(ROOT))


def network_of(settings):
    model = settings["model"]["init_args"]
    return model.get("denoiser") or model["network"]


def keys(value):
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from keys(item)


@pytest.fixture(scope="module")
def data_files(tmp_path_factory, synthetic_file, short_term_file, actions_file):
    """A small file in the name of each data set."""
    folder = tmp_path_factory.mktemp("named")
    files = {"synthetic": synthetic_file, "synthetic_actions": actions_file}
    for dataset, about in data_sets().items():
        if dataset not in files and about.fact("measures"):
            files[dataset] = short_term_file(dataset, ("rgb", "flow", "obj"))
        elif dataset not in files:
            files[dataset] = folder / f"{dataset}.h5"
            files[dataset].write_bytes(synthetic_file.read_bytes())
            with h5py.File(files[dataset], "r+") as file:
                file.attrs["dataset"] = dataset
    return files


@pytest.fixture(scope="module")
def settings_of():
    """Resolve an experiment as `--print_config` does, once."""

    @cache
    def resolve(path):
        with pytest.raises(SystemExit) as exit_, redirect_stdout(StringIO()) as out:
            main(["fit", "--config", str(path), "--print_config"])
        assert exit_.value.code == 0
        return yaml.safe_load(out.getvalue())

    return resolve


@pytest.mark.slow
@pytest.mark.parametrize("path", EXPERIMENTS, ids=name_of)
def test_experiment_builds_and_runs_a_step(path, data_files, settings_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = settings_of(path)
    if path not in STEPPED:
        return
    data, network = resolve_name(settings["data"]["class_path"]), network_of(settings)
    small = TINY_MODELS[network["class_path"].rpartition(".")[2]]
    file = f"--data.path={data_files[data.dataset]}"
    main(["fit", "--config", str(path), file, *TINY, *small])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("path", [*EXPERIMENTS, *ABLATIONS], ids=name_of)
def test_run_names_follow_the_files(path):
    assert "run_name" not in yaml.safe_load(path.read_text())
    relative = path.relative_to(ROOT / "experiments").with_suffix("")
    assert run_name(path) == str(relative).removeprefix("ablations/")
    assert len(config_chain(path)) <= 3


@pytest.mark.parametrize("path", [*EXPERIMENTS, *ABLATIONS, *PROFILES, *FRAGMENTS], ids=name_of)
def test_no_file_sets_what_the_data_sets(path):
    linked = {*FROM_DATA, "seed"} - {"sample_rate", "obs_ratios", "pred_ratios"}
    assert path.resolve() in config_chain(path)  # which refuses keys that stand twice
    content = yaml.safe_load(path.read_text())
    assert not linked & set(keys(content))
    assert path.read_text().startswith("# "), "say what the file is for"


@pytest.mark.parametrize("path", RECIPE_FRAGMENTS, ids=name_of)
def test_every_fragment_of_a_model_or_trainer_is_used(path):
    users = [experiment.read_text() for experiment in EXPERIMENTS]
    assert any(f"configs/{path.relative_to(ROOT / 'configs')}" in text for text in users)


def test_recipes_of_uaaa_hold_the_numbers_of_its_predecessor_s_code(settings_of):
    for name, epochs in {"breakfast": 20, "50salads": 20, "assembly101": 2}.items():
        config = settings_of(ROOT / "experiments" / f"uaaa_{name}.yaml")
        model = config["model"]["init_args"]
        network = model["network"]["init_args"]
        assert (network["hidden_dim"], network["state_dim"], network["num_layers"]) == (128, 256, 2)
        assert model["optimizer"]["class_path"] == "torch.optim.Adam"
        assert np.isclose(model["optimizer"]["init_args"]["lr"], 1e-3)
        assert model["observation"] == "ground_truth"
        assert (model["length_unit"], model["current_length"]) == ("video", "total")
        assert model["num_samples"] == 25
        assert config["trainer"]["max_epochs"] == epochs


def test_recipes_of_mixant_hold_the_paper_s_numbers(settings_of):
    expected = {
        "mixant_breakfast": (5e-4, 50, 3),
        "mixant_50salads": (1e-3, 10, 6),
        "mixant_assembly101": (5e-4, 50, 6),
    }
    for name, (lr, steps, sample_rate) in expected.items():
        config = settings_of(ROOT / "experiments" / f"{name}.yaml")
        model = config["model"]["init_args"]
        assert np.isclose(model["optimizer"]["init_args"]["lr"], lr)
        assert model["num_inference_steps"] == steps
        assert model["num_samples"] == 25
        assert config["data"]["init_args"]["sample_rate"] == sample_rate
        assert config["trainer"]["max_epochs"] == 90
        network = model["denoiser"]["init_args"]
        assert (network["num_layers"], network["num_static_layers"], network["num_experts"]) == (
            15,
            3,
            5,
        )


# From the released code of FUTR, with its counts; Assembly101 and DiffAnt as inferred from it.
@pytest.mark.parametrize(
    ("name", "num_classes", "sample_rate", "batch_size", "epochs", "parameters"),
    [
        ("futr_breakfast", 48, 3, 16, 60, 1_193_314),
        ("futr_50salads", 19, 6, 8, 70, 17_380_904),
        ("futr_assembly101", 202, 6, 16, 60, 18_541_462),
        ("diffant_breakfast", 48, 3, 16, 60, 1_347_810),
        ("diffant_50salads", 19, 6, 8, 70, 19_753_512),
    ],
)
def test_recipes_of_segments_hold_the_released_numbers(
    settings_of, name, num_classes, sample_rate, batch_size, epochs, parameters
):
    config = settings_of(ROOT / "experiments" / f"{name}.yaml")
    data, model = config["data"]["init_args"], config["model"]["init_args"]
    assert (data["sample_rate"], data["batch_size"]) == (sample_rate, batch_size)
    assert (data["train_obs_ratios"], data["augment"]) == ([0.2, 0.3, 0.5], False)
    optimizer = model["optimizer"]["init_args"]
    assert (optimizer["lr"], optimizer["weight_decay"]) == (1e-3, 5e-3)
    assert (model["warmup_epochs"], config["trainer"]["max_epochs"]) == (10, epochs)
    with torch.device("meta"):
        network = resolve_name(model["network"]["class_path"])(
            num_classes, 2048, **model["network"]["init_args"]
        )
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


# Counted in the authors' networks; MixANT's Tab. 2 gives 50Salads its learning rate and steps.
@pytest.mark.parametrize(
    ("dataset", "classes", "lr", "steps", "sample_rate", "stochastic", "deterministic"),
    [
        ("breakfast", 48, 5e-4, 50, 3, 3_905_648, 1_982_448),
        ("50salads", 19, 1e-3, 10, 6, 3_870_239, 1_965_599),
        ("assembly101", 202, 5e-4, 50, 6, 4_093_682, 2_071_922),
    ],
)
def test_recipes_of_gtda_hold_the_released_numbers(
    settings_of, dataset, classes, lr, steps, sample_rate, stochastic, deterministic
):
    for name, parameters in (("gtda", stochastic), ("gtda_deterministic", deterministic)):
        config = settings_of(ROOT / "experiments" / f"{name}_{dataset}.yaml")
        network, model = network_of(config), config["model"]["init_args"]
        with torch.device("meta"):
            built = resolve_name(network["class_path"])(classes, 2048, **network["init_args"])
        assert sum(parameter.numel() for parameter in built.parameters()) == parameters
        assert model["optimizer"]["class_path"] == "torch.optim.Adam"
        assert np.isclose(model["optimizer"]["init_args"]["lr"], lr)
        assert config["data"]["init_args"]["sample_rate"] == sample_rate
        assert config["trainer"]["max_epochs"] == 90
        if name == "gtda":
            assert (model["load_balancing"], model["num_inference_steps"]) == (0, steps)
            assert model["num_samples"] == 25


# From the released training code: 50 epochs of 128 clips, AdamW at 2e-4 with decay 0.01.
@pytest.mark.parametrize(
    ("name", "anticipation_time"), [("aga_ek100", 1.0), ("aga_ek55", 1.0), ("aga_egtea", 0.5)]
)
def test_recipes_of_aga_hold_the_released_numbers(settings_of, name, anticipation_time):
    config = settings_of(ROOT / "experiments" / f"{name}.yaml")
    data, model = config["data"]["init_args"], config["model"]["init_args"]
    assert (data["num_steps"], data["step_time"]) == (30, 1.0)
    assert data["anticipation_time"] == anticipation_time
    assert (data["batch_size"], data["drop_last"], data["drift"]) == (128, True, True)
    assert data["short_past"] == "drop"
    optimizer = model["optimizer"]["init_args"]
    assert (optimizer["lr"], optimizer["weight_decay"]) == (2e-4, 0.01)
    assert (model["loss_reduction"], model["class_weighting"]) == ("released", True)
    network = model["network"]["init_args"]
    assert (network["hidden_dim"], network["num_heads"], network["dropout"]) == (2048, 16, 0.6)
    assert (network["query"], network["ema_weight"], network["queue_length"]) == ("ema", 0.8, 30)
    assert config["trainer"]["max_epochs"] == 50


# From the authors' code: see the comments of the recipes.
@pytest.mark.parametrize(
    ("name", "grid", "layers_heads_dropout", "lr_decay", "epochs_warmup", "weights"),
    [
        ("avt_ek100", (10, 1.0, 1.0), (6, 4, 0.2), (2e-3, 1e-6), (50, 10500), (1.0, 1.0)),
        ("avt_ek55", (10, 0.5, 1.0), (12, 8, 0.8), (2e-5, 1e-4), (20, 920), (2.0, 0.0)),
        ("avt_ek55_recall", (10, 1.0, 1.0), (6, 4, 0.2), (2e-3, 1e-6), (50, 0), (1.0, 1.0)),
        ("avt_egtea", (10, 1.0, 0.5), (2, 4, 0.8), (2e-3, 1e-6), (15, 0), (1.0, 0.1)),
    ],
)
def test_recipes_of_avt_hold_the_released_numbers(
    settings_of, name, grid, layers_heads_dropout, lr_decay, epochs_warmup, weights
):
    config = settings_of(ROOT / "experiments" / f"{name}.yaml")
    data, model = config["data"]["init_args"], config["model"]["init_args"]
    assert (data["num_steps"], data["step_time"], data["anticipation_time"]) == grid
    assert (data["batch_size"], data["drift"], data["short_past"]) == (128, False, "drop")
    network, optimizer = model["network"]["init_args"], model["optimizer"]
    assert (network["hidden_dim"], network["window"]) == (2048, 10)
    found = network["num_layers"], network["num_heads"], network["dropout"]
    assert found == layers_heads_dropout
    assert (optimizer["init_args"]["lr"], optimizer["init_args"]["weight_decay"]) == lr_decay
    assert optimizer["class_path"].endswith("Adam" if name == "avt_ek55" else "SGD")
    assert (config["trainer"]["max_epochs"], model["warmup_steps"]) == epochs_warmup
    assert (model["feature_weight"], model["past_weight"]) == weights
    assert model["loss_reduction"] == "released"
