"""Ablation files: each names its parent and what differs, and profiles leave that alone."""

import inspect
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
import yaml

import anticipate.models
import anticipate.nn
from anticipate.config_chain import config_chain
from anticipate.data import Synthetic, SyntheticActions
from anticipate.registry import FROM_DATA
from anticipate.report.studies import STUDIES
from anticipate.sweep.settings import SettingsReader, differences, flatten
from anticipate.training import command_line

ROOT = Path(__file__).parent.parent / "experiments"
POINTS = sorted((ROOT / "ablations").glob("*/*.yaml"))
PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))
DENSE = {
    *("experts", "static_blocks", "router", "balancing"),
    *("routing_context", "selection", "forget_gate", "denoiser"),
}
SHORT_TERM = {
    *("aga_ema", "aga_attention", "aga_gate", "aga_queue", "aga_space", "aga_perturbation"),
}
NETWORKS = {"mixant": "model.init_args.denoiser", "aga": "model.init_args.network"}
"""Where the settings of the network stand, by complete model."""

TINY = {
    "mixant": {
        "model.init_args.denoiser.init_args.d_model": 8,
        "model.init_args.denoiser.init_args.d_state": 2,
        "model.init_args.num_inference_steps": 2,
        "model.init_args.num_samples": 2,
    },
    "aga": {
        "model.init_args.network.init_args.hidden_dim": 8,
        "model.init_args.network.init_args.num_heads": 2,
    },
}


def name_of(path):
    return f"{path.parent.name}/{path.stem}"


def family(path):
    return "aga" if path.parent.name in SHORT_TERM else "mixant"


def complete(path):
    return ROOT / "ablations" / f"{family(path)}.yaml"


def profile_of(path):
    return ROOT / "profiles" / f"{family(path)}_demo.yaml"


def read(path):
    """The content of one file, fragments in the place of their names."""
    content = yaml.safe_load(path.read_text())
    return {
        key: read(path.parent / value) if key in ("data", "model", "trainer") and is_text else value
        for key, value in content.items()
        for is_text in [isinstance(value, str)]
    }


def merged(*files):
    """What files and their parents say, the later word holding, by dotted key."""
    chain = dict.fromkeys(ancestor for file in files for ancestor in config_chain(file))
    return {key: value for file in chain for key, value in flatten(read(file)).items()}


def changes(path):
    """What a point sets, by dotted key."""
    settings = flatten(read(path))
    return {key: settings[key] for key in settings.keys() - {"extends", "run_name"}}


def changes_class(path):
    return any(key.endswith("class_path") for key in changes(path))


def default_of(key, settings):
    """The default of a setting of a model or network."""
    owner, _, name = key.rpartition(".init_args.")
    kind = settings[f"{owner}.class_path"]
    module = anticipate.models if owner == "model" else anticipate.nn
    return inspect.signature(getattr(module, kind)).parameters[name].default


def test_the_studies_are_those_of_the_papers():
    assert {path.parent.name for path in POINTS} == DENSE | SHORT_TERM


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_the_report_knows_every_point_and_one_is_the_complete_model(study):
    files = [path for path in POINTS if path.parent.name == study.name]
    assert {path.stem for path in files} == set(study.points)
    assert [path.stem for path in files if not changes(path)] == [study.default]


@pytest.mark.parametrize("path", POINTS, ids=name_of)
def test_a_point_sets_what_differs_and_nothing_else(path):
    assert config_chain(path)[-2] == complete(path).resolve()
    parent = merged(complete(path))
    for key, value in changes(path).items():
        assert key.startswith("model.init_args."), "a point changes the model alone"
        before = parent[key] if key in parent else default_of(key, parent)
        # The number of layers of another class is said even where it is that of the parent.
        assert value != before or changes_class(path), f"{key} is what the parent has"


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_a_profile_leaves_the_points_alone(profile):
    """Except the number of layers, which the Transformers set again, after the profile."""
    points = [path for path in POINTS if profile_of(path) == profile]
    varied = {key for path in points for key in changes(path)}
    layers = {"model.init_args.denoiser.init_args.num_layers"}
    set_here = flatten(read(profile)).keys()
    assert not (varied - layers) & set_here
    assert not {"run_name", "seed_everything"} & set_here
    assert all(config_chain(profile)[-2] == complete(path).resolve() for path in points)


@pytest.fixture(scope="module")
def reader():
    return command_line(SettingsReader, ["fit"])


@pytest.fixture(scope="module")
def small(reader):
    """What the complete models are under their profiles."""
    return {profile: reader.read([f"--config={profile}"]) for profile in PROFILES}


@pytest.mark.parametrize("path", POINTS, ids=name_of)
def test_the_command_line_puts_the_profile_between_parent_and_point(path, reader, small):
    profile = profile_of(path)
    point = reader.read([f"--config={profile}", f"--config={path}"])
    assert point["run_name"] == name_of(path)
    if not changes_class(path):
        assert {key: point[key] for key in changes(path)} == changes(path)
        assert set(differences(small[profile], point)) == {"run_name", *changes(path)}


def test_a_transformer_takes_its_layers_from_its_file_and_its_width_from_the_profile(reader):
    path = ROOT / "ablations" / "denoiser" / "transformer_18.yaml"
    point = reader.read([f"--config={profile_of(path)}", f"--config={path}"])
    start = "model.init_args.denoiser."
    assert point[f"{start}class_path"] == "anticipate.nn.Transformer"
    assert point[f"{start}init_args.num_layers"] == 18
    assert (
        point[f"{start}init_args.d_model"] == merged(profile_of(path))[f"{start}init_args.d_model"]
    )
    assert f"{start}init_args.num_experts" not in point


@pytest.fixture(scope="module")
def data(synthetic_file, actions_file):
    """Tiny data of both families."""
    return {
        "mixant": Synthetic(str(synthetic_file), sample_rate=10, batch_size=2, eval_batch_size=2),
        "aga": SyntheticActions(str(actions_file), batch_size=2, eval_batch_size=2),
    }


def tiny_model(path, data):
    """The model of a point under its profile, but narrower and quick to sample from."""
    settings = {**merged(profile_of(path), path), **TINY[family(path)]}
    part = NETWORKS[family(path)]
    kind = getattr(anticipate.nn, settings[f"{part}.class_path"])
    network = {name: value for name, value in below(part, settings) if name in parameters(kind)}
    model = getattr(anticipate.models, settings["model.class_path"])
    facts = {name: getattr(data, name) for name in FROM_DATA if name in parameters(model)}
    rest = {name: value for name, value in below("model", settings) if name in parameters(model)}
    slot = part.rpartition(".")[2]
    return model(**facts, **rest, **{slot: partial(kind, **network)})


def below(part, settings):
    start = f"{part}.init_args."
    return [(k.removeprefix(start), v) for k, v in settings.items() if k.startswith(start)]


def parameters(kind):
    return inspect.signature(kind).parameters


@pytest.mark.parametrize("path", POINTS, ids=name_of)
def test_every_point_trains_for_two_steps_and_forecasts(path, data, tmp_path):
    data = data[family(path)]
    model = tiny_model(path, data)
    trainer = pl.Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        fast_dev_run=2,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    before = [parameter.detach().clone() for parameter in model.parameters()]
    trainer.fit(model, data)
    after = list(model.parameters())
    assert not all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    forecast = model.eval().forecast(batch)[0]
    assert forecast.isfinite().all()
    assert len(forecast) == 2  # samples of a dense model, rows of a short-term one
