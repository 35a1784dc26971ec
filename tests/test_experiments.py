"""Every shipped YAML is parsed against the real signatures, built, and run."""

from pathlib import Path

import h5py
import lightning.pytorch  # noqa: F401  its log handler must meet the stderr of the session, not of one test
import numpy as np
import pytest
import yaml

from anticipate.cli import main
from anticipate.config_chain import config_chain
from anticipate.training import FROM_DATA

ROOT = Path(__file__).parent.parent
EXPERIMENTS = sorted((ROOT / "experiments").rglob("*.yaml"))
FRAGMENTS = sorted((ROOT / "configs").rglob("*.yaml"))
TINY = [
    "--model.denoiser.d_model=8",
    "--model.denoiser.d_state=2",
    "--model.num_samples=2",
    "--model.num_inference_steps=2",
    "--data.batch_size=2",
    "--data.eval_batch_size=2",
    "--trainer.accelerator=cpu",
    "--trainer.fast_dev_run=true",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]


def name_of(path):
    return str(path.relative_to(ROOT))


def keys(value):
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from keys(item)


@pytest.fixture(scope="module")
def data_files(tmp_path_factory, synthetic_file):
    """A small file in the name of each dense data set."""
    folder = tmp_path_factory.mktemp("named")
    files = {"synthetic": synthetic_file}
    for dataset in ("breakfast", "50salads", "assembly101"):
        files[dataset] = folder / f"{dataset}.h5"
        files[dataset].write_bytes(synthetic_file.read_bytes())
        with h5py.File(files[dataset], "r+") as file:
            file.attrs["dataset"] = dataset
    return files


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name_of)
def test_experiment_builds_and_runs_a_step(path, data_files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dataset = {
        "Breakfast": "breakfast",
        "Salads50": "50salads",
        "Assembly101": "assembly101",
        "Synthetic": "synthetic",
    }
    with pytest.raises(SystemExit) as exit_:
        main(["fit", "--config", str(path), "--print_config"])
    assert exit_.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    file = data_files[dataset[config["data"]["class_path"].rsplit(".")[-1]]]
    main(["fit", "--config", str(path), f"--data.path={file}", *TINY])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name_of)
def test_run_names_follow_the_files(path):
    content = yaml.safe_load(path.read_text())
    relative = path.relative_to(ROOT / "experiments").with_suffix("")
    assert content["run_name"] == str(relative).removeprefix("ablations/")
    assert len(config_chain(path)) <= 3


@pytest.mark.parametrize("path", [*EXPERIMENTS, *FRAGMENTS], ids=name_of)
def test_no_file_sets_what_the_data_sets(path):
    linked = {*FROM_DATA, "seed"} - {"sample_rate", "obs_ratios", "pred_ratios"}
    assert path.resolve() in config_chain(path)  # which refuses keys that stand twice
    content = yaml.safe_load(path.read_text())
    assert not linked & set(keys(content))
    assert path.read_text().startswith("# "), "say what the file is for"


@pytest.mark.parametrize("path", FRAGMENTS, ids=name_of)
def test_every_fragment_is_used(path):
    users = [experiment.read_text() for experiment in EXPERIMENTS]
    assert any(f"configs/{path.relative_to(ROOT / 'configs')}" in text for text in users)


def test_recipes_hold_the_paper_s_numbers(tmp_path, monkeypatch, capsys):
    expected = {
        "mixant_breakfast": (5e-4, 50, 3),
        "mixant_50salads": (1e-3, 10, 6),
        "mixant_assembly101": (5e-4, 50, 6),
    }
    for name, (lr, steps, sample_rate) in expected.items():
        with pytest.raises(SystemExit):
            main(["fit", "--config", str(ROOT / "experiments" / f"{name}.yaml"), "--print_config"])
        config = yaml.safe_load(capsys.readouterr().out)
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
