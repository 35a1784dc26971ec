"""Studies and their files: each point names its parent and what differs, or is a system."""

import inspect
from functools import cache, partial

import lightning.pytorch as pl
import pytest
import torch
import yaml

import anticipate
from anticipate.datasets import Synthetic, SyntheticActions
from anticipate.datasets.batches.ticks import TickWindows
from anticipate.errors import ConfigError
from anticipate.lab.ablations import main as ablations
from anticipate.lab.studies import read_study, studies
from anticipate.lab.sweep.sweep_command import main as sweep
from anticipate.training.lightning_cli import FROM_DATA
from anticipate.training.loading import read as resolve
from anticipate.training.settings import RECIPES, config_chain, differences, flatten, run_name

STUDIES = {study.name: study for study in studies()}
POINTS = [
    pytest.param(study, study.folder / f"{point}.yaml", id=f"{study.name}/{point}")
    for study in STUDIES.values()
    for point in study.points
]
OWN = [
    point
    for point in POINTS
    for study, path in [point.values]
    if study.systems and study.parent not in config_chain(path)
]
"""Systems with recipes of their own, which test_experiments runs."""
VARIANTS = [point for point in POINTS if point not in OWN]
each_study = pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
each_point = pytest.mark.parametrize(("study", "path"), POINTS)
each_variant = pytest.mark.parametrize(("study", "path"), VARIANTS)
PARENTS = {study.parent.stem: study.parent for study in STUDIES.values()}
each_parent = pytest.mark.parametrize("parent", PARENTS.values(), ids=PARENTS)


def read(path):
    """The content of one file, fragments in the place of their names."""
    content = yaml.safe_load(path.read_text())
    return {
        key: read(path.parent / value) if key in ("data", "model", "trainer") and is_text else value
        for key, value in content.items()
        for is_text in [isinstance(value, str)]
    }


def changes(path):
    """What a point sets, by dotted key."""
    settings = flatten(read(path))
    return {key: v for key, v in settings.items() if not key.startswith(("extends", "profiles."))}


def kind_of(study, path):
    """What a point sets, for numbers their type: points of one kind run the same code."""
    settings = {key: type(v) if type(v) in (int, float) else v for key, v in changes(path).items()}
    return study.task, *sorted(settings.items())


KINDS = {kind_of(*point.values): point for point in VARIANTS}
each_kind = pytest.mark.parametrize(("study", "path"), KINDS.values())

NETWORKS = {"dense": "model.init_args.denoiser", "short_term": "model.init_args.network"}
"""Key of the network, by task."""

TINY = {
    **{"d_model": 8, "d_state": 2, "hidden_dim": 8, "state_dim": 8, "num_heads": 2},
    **{"num_inference_steps": 2, "num_samples": 2, "encoding_steps": 1},
}
"""What makes a network narrow and a model quick to sample from."""


def merged(*files, profile=None):
    """What files and their parents say, the later word holding, by dotted key."""
    chain = dict.fromkeys(one for file in files for one in config_chain(file, profile))
    return {key: value for file in chain for key, value in flatten(read(file)).items()}


def profile_of(parent):
    return parent.parent / yaml.safe_load(parent.read_text())["profiles"]["demo"]


def changes_class(path):
    return any(key.endswith("class_path") for key in changes(path))


def default_of(key, settings):
    """The default of a setting of a model, network or data module."""
    owner, _, name = key.rpartition(".init_args.")
    kind = getattr(anticipate, settings[f"{owner}.class_path"])
    signatures = (inspect.signature(one.__init__).parameters for one in kind.__mro__)
    return next(known[name].default for known in signatures if name in known)


def test_the_studies_of_the_papers_are_there_in_their_order():
    dense = ["experts", "static_blocks", "router", "balancing", "routing_context", "denoiser"]
    short = ["aga_attention", "aga_ema", "aga_gate", "aga_perturbation", "aga_queue", "aga_space"]
    papers = [*dense, "forget_gate", "selection", *short]
    assert [name for name in STUDIES if name in papers] == papers


@each_study
def test_a_study_lists_every_file_and_one_is_the_complete_model(study):
    files = {path.stem: path for path in study.folder.glob("*.yaml") if path.stem != "study"}
    assert set(files) == set(study.points)
    variants = {path for one, path in (point.values for point in VARIANTS) if one == study}
    same = [
        point for point in study.points if files[point] in variants and not changes(files[point])
    ]
    assert same == [study.default]


@each_study
def test_data_and_task_are_those_of_the_parent(study, reads):
    settings = reads(study.parent, None)
    assert getattr(anticipate, settings["data.class_path"].rpartition(".")[2]).dataset == study.data
    assert (NETWORKS[study.task] + ".class_path") in settings


@each_variant
def test_a_point_sets_what_differs_and_nothing_else(study, path):
    assert config_chain(path)[-2] == study.parent.resolve()
    parent = merged(study.parent)
    for key, value in changes(path).items():
        order = "data.init_args.steps_per_pool"
        assert key.startswith("model.init_args.") or key == order, "a point changes the training"
        before = parent[key] if key in parent else default_of(key, parent)
        # The number of layers of another class is said even where it is that of the parent.
        assert value != before or changes_class(path), f"{key} is what the parent has"


PROTOCOL = ("class_path", "init_args.path", "init_args.split", "init_args.limit_test_videos")


@pytest.mark.parametrize("profile", [None, "demo", "short"])
@pytest.mark.parametrize(("study", "path"), OWN)
def test_a_system_is_scored_on_the_data_of_the_others(study, path, profile, reads):
    own, parent = reads(path, profile), reads(study.parent, profile)
    for key in (*PROTOCOL, "init_args.sample_rate"):
        assert own.get(f"data.{key}") == parent.get(f"data.{key}")
    samples = "model.init_args.num_samples"
    if samples in own:
        assert own[samples] == parent[samples]


@each_parent
def test_a_profile_leaves_the_points_alone(parent):
    """Except the number of layers, which the Transformers set again, after the profile."""
    files = [file for study in STUDIES.values() if study.parent == parent for file in points(study)]
    varied = {key for path in files for key in changes(path)}
    layers = {"model.init_args.denoiser.init_args.num_layers"}
    set_here = flatten(read(profile_of(parent))).keys()
    assert files
    assert not (varied - layers) & set_here
    assert not {"run_name", "seed_everything"} & set_here


@pytest.fixture(scope="module")
def reads():
    """The settings of a file under a profile, read once."""
    return cache(
        lambda path, profile: resolve(
            ["--config", str(path), *(["--profile", profile] if profile else [])]
        )
    )


def points(study):
    return [study.folder / f"{point}.yaml" for point in study.points]


@each_variant
def test_a_point_beats_the_profile(study, path):
    point = merged(path, profile="demo")
    assert {key: point[key] for key in changes(path)} == changes(path)
    assert run_name(path) == f"{study.name}/{path.stem}"


@pytest.mark.slow
@each_kind
def test_the_profile_comes_between_parent_and_point(study, path, reads):
    point = resolve(["--config", str(path), "--profile=demo"])
    assert point["run_name"] == run_name(path)
    if not changes_class(path):
        assert {key: point[key] for key in changes(path)} == changes(path)
        small = reads(study.parent, "demo")
        assert set(differences(small, point)) == {"run_name", *changes(path)}


def test_a_transformer_takes_its_layers_from_its_file_and_its_width_from_the_profile():
    path = STUDIES["denoiser"].folder / "transformer_18.yaml"
    point = resolve(["--config", str(path), "--profile=demo"])
    start = "model.init_args.denoiser."
    assert point[f"{start}class_path"] == "anticipate.Transformer"
    assert point[f"{start}init_args.num_layers"] == 18
    profile = flatten(read(profile_of(STUDIES["denoiser"].parent)))
    assert point[f"{start}init_args.d_model"] == profile[f"{start}init_args.d_model"]
    assert f"{start}init_args.num_experts" not in point


@pytest.fixture(scope="module")
def data(synthetic_file, actions_file):
    """Tiny data of both tasks, windows for TeSTra, and whole clips where they are disturbed."""
    sizes = {"batch_size": 2, "eval_batch_size": 2}
    return {
        "testra": SyntheticActions(str(actions_file), windows=TickWindows(), **sizes),
        "dense": Synthetic(str(synthetic_file), sample_rate=10, **sizes),
        "short_term": SyntheticActions(str(actions_file), num_steps=6, **sizes),
        "aga_perturbation": SyntheticActions(str(actions_file), **sizes),  # of up to 24 steps
    }


def data_of(study, data):
    """The data of a study, of its parent, or of its task, whichever is told."""
    return next(data[key] for key in (study.name, study.parent.stem, study.task) if key in data)


def tiny_model(study, path, data):
    """The model of a point under its profile, but narrower and quick to sample from."""
    settings = merged(path, profile="demo")
    part = next(key for key in NETWORKS.values() if f"{key}.class_path" in settings)
    kind = getattr(anticipate, settings[f"{part}.class_path"])
    model = getattr(anticipate, settings["model.class_path"])
    facts = {name: getattr(data, name) for name in FROM_DATA if name in parameters(model)}
    network = partial(kind, **given(part, settings, kind))
    slot = part.rpartition(".")[2]
    return model(**facts, **given("model", settings, model), **{slot: network})


def given(part, settings, kind):
    """What settings say of the arguments of a class, or what makes it tiny."""
    start = f"{part}.init_args."
    told = {k.removeprefix(start): v for k, v in settings.items() if k.startswith(start)} | TINY
    return {name: value for name, value in told.items() if name in parameters(kind)}


def parameters(kind):
    return inspect.signature(kind).parameters


@each_point
def test_every_point_is_built(study, path, data):
    data = data_of(study, data)
    assert tiny_model(study, path, data).num_classes == data.num_classes


@pytest.mark.slow
@each_kind
def test_points_of_every_kind_train_for_two_steps_and_forecast(study, path, data, tmp_path):
    data = data_of(study, data)
    model = tiny_model(study, path, data)
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


STUDY = """
title: Learning rate
task: dense
parent: ../mixant.yaml
data: breakfast
axis: learning rate
points: ["1", "2"]
default: "1"
"""


@pytest.fixture
def write_study(tmp_path):
    """Write a study with two points, some of its lines replaced."""

    def write(**lines):
        kept = [line for line in STUDY.splitlines() if line.partition(":")[0] not in lines]
        added = [f"{key}: {value}" for key, value in lines.items() if value is not None]
        folder = tmp_path / "experiments" / "mine" / "lr"
        folder.mkdir(parents=True)
        (folder.parent / "mixant.yaml").touch()
        for point in (1, 2):
            (folder / f"{point}.yaml").write_text("extends: ../mixant.yaml")
        (folder / "study.yaml").write_text("\n".join([*kept, *added]))
        return folder / "study.yaml"

    return write


def test_a_study_of_one_s_own_is_found_in_the_current_folder(write_study, tmp_path, monkeypatch):
    write_study()
    monkeypatch.chdir(tmp_path)
    own = next(study for study in studies() if study.title == "Learning rate")
    assert (own.name, own.points) == ("mine/lr", ("1", "2"))
    assert len(studies()) == len(STUDIES) + 1


def claim(criterion):
    return {"claims": f"[{{source: s, text: t, {criterion}}}]"}


def test_a_study_that_cannot_be_used_blocks_no_other(write_study, tmp_path, monkeypatch, capsys):
    write_study(task="sparse")
    monkeypatch.chdir(tmp_path)
    assert [study.name for study in studies()] == [*STUDIES]
    assert "study left out: " in capsys.readouterr().err
    with pytest.raises(ConfigError, match="task is 'sparse'"):
        ablations(["ablations", "--study", "mine/lr", "--dry-run"])


@pytest.mark.parametrize("wrong", [{"data": "salads50"}, {"task": "short_term"}])
@pytest.mark.parametrize("command", ["ablations", "sweep"])
def test_data_and_task_of_a_study_are_those_of_its_parent(
    write_study, tmp_path, monkeypatch, wrong, command
):
    file = write_study(**{"data": "synthetic", **wrong})
    (file.parent.parent / "mixant.yaml").write_text(f"extends: {demo()}")
    monkeypatch.chdir(tmp_path)
    paths = ["--study", "mine/lr"] if command == "ablations" else [str(file.parent)]
    with pytest.raises(ConfigError, match=f"study.yaml: {next(iter(wrong))} is .*Synthetic"):
        {"ablations": ablations, "sweep": sweep}[command]([command, *paths, "--dry-run"])


def demo():
    return RECIPES / "experiments" / "demo.yaml"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"title": None}, "no key 'title'; expected title"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"default": "1"}, r"default is 1, expected str \(quote numbers\)"),
        ({"task": "sparse"}, "task is 'sparse', expected dense or short_term"),
        ({"points": '["1", "3"]'}, "no file 3.yaml next to it"),
        ({"default": "'3'"}, "no file 3.yaml next to it, or no such point listed"),
        ({"parent": "../nope.yaml"}, "no file ../nope.yaml, which it names as its parent"),
        (claim("a: b"), "claim 't' has the keys source, text, a; expected"),
        (claim("best: '1', inside: true"), "expected source, text and one of higher"),
        (claim("higher: ['1']"), r"higher is \['1'\], expected 2 of the points 1, 2"),
        (claim("best: '3'"), "best is '3', expected 1 of the points 1, 2"),
        (claim("best: 1"), "best is 1, expected 1 of the points"),
        (claim("flat: ['1', '2']"), "expected points and a factor"),
        (claim("best: '1', measure: accuracy"), "measure is accuracy, expected one such as 0.3/"),
        (
            claim("everywhere: ['1', '2'], measure: mof"),
            "measure is mof, expected mean_moc or",
        ),
        ({"systems": "1"}, "systems is 1, expected bool"),
        ({"methods": "{'3': MixANT}"}, "methods names '3', expected 1, 2"),
        (claim("best: '1', published: 53.5"), "published is 53.5, expected text"),
        (claim("everywhere: ['1', '2'], but: 3"), "measure is 3, expected one such as 0.3/"),
        ({"claims": "[wider is better]"}, "a claim is plain text, expected keys and values"),
        ({"title": "[1"}, "is not valid YAML"),
    ],
)
def test_mistakes_in_a_study_are_named(write_study, lines, message):
    with pytest.raises(ConfigError, match=f"study.yaml.*{message}"):
        read_study(write_study(**lines))
