"""Chains of trainings, run for real: what a run starts from, and what it refuses to start from."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from anticipate.cli import main
from anticipate.datasets.prepare import main as prepare
from anticipate.errors import CheckpointError, ConfigError
from anticipate.training.loading import build
from anticipate.training.starting_weights import Place, start

pytestmark = pytest.mark.slow

RECIPES = Path(__file__).parents[2]
EXPERIMENT = {
    "model": str(RECIPES / "configs/model/rulstm.yaml"),
    "trainer": {
        "max_epochs": 1,
        "accelerator": "cpu",
        "limit_train_batches": 1,
        "limit_test_batches": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    },
    "short_term_results": {"baselines": False},
}
CLIPS = {"num_steps": 7, "step_time": 0.5, "train_until": 0.5, "drift": False, "batch_size": 4}
SMALL = "--model.network.hidden_dim=4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a data file of three streams and the finished runs `rgb` and `obj`."""
    folder = tmp_path_factory.mktemp("chain")
    file = folder / "data.h5"
    sizes = ["--videos", "20", "--segments", "4", "--stream", "rgb=4", "flow=4", "obj=3"]
    prepare(["prepare", "synthetic_actions", "--output", str(file), *sizes])
    data = {"class_path": "SyntheticActions", "init_args": {"path": str(file), **CLIPS}}
    (folder / "chain.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "data": data}))
    for stream in ("rgb", "obj"):
        completing = "--model.network.sequence_completion=true"
        main(["fit", *words(folder, stream, [stream]), completing])
    return folder


def words(folder, name, streams, *options):
    where = [f"--run_name={name}", f"--run_dir={folder / 'runs'}", f"--data.streams={streams}"]
    return ["--config", str(folder / "chain.yaml"), *where, SMALL, *options]


def weights(folder, name):
    path = folder / "runs" / name / "split_1/seed_0/checkpoints/last.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]


def begin(folder, init_from, streams, *options, place=None):
    """Build a model as a run would, start it, and return it."""
    model, data = build(words(folder, "next", streams, *options))
    start(model, data, init_from, place or Place(folder / "runs", 1, 0))
    return model


def test_the_second_stage_starts_from_the_tensors_of_the_first(folder):
    first = weights(folder, "rgb")
    model = begin(folder, "rgb", ["rgb"])
    assert model.state_dict().keys() == first.keys()
    assert all(torch.equal(tensor, first[name]) for name, tensor in model.state_dict().items())
    assert not model.network.sequence_completion


def test_a_fusion_starts_from_a_run_for_each_branch(folder):
    fresh, _ = build(words(folder, "next", ["obj", "rgb"], "--model.fusion=true"))
    model = begin(folder, {"obj": "obj", "rgb": "rgb"}, ["obj", "rgb"], "--model.fusion=true")
    for number, name in enumerate(("obj", "rgb")):
        first = weights(folder, name)
        for key, tensor in model.network.branches[number].state_dict().items():
            assert torch.equal(tensor, first[f"network.{key}"])
    own, before = (one.network.attention.state_dict() for one in (model, fresh))
    assert all(torch.equal(own[key], before[key]) for key in before)


def test_a_run_of_equal_settings_stands_for_its_twin(folder):
    twin = folder / "runs/twin/split_1/seed_0"
    twin.mkdir(parents=True, exist_ok=True)
    (twin / "same_as.json").write_text(json.dumps({"same_as": "rgb/split_1/seed_0"}))
    model = begin(folder, "twin", ["rgb"])
    assert torch.equal(
        model.network.classifier.bias, weights(folder, "rgb")["network.classifier.bias"]
    )


FUSION = ("--model.fusion=true",)


@pytest.mark.parametrize(
    ("init_from", "streams", "options", "error", "message"),
    [
        (
            "none",
            ["rgb"],
            (),
            ConfigError,
            "the run 'none', but .*none/split_1/seed_0 is missing",
        ),
        ("../rgb", ["rgb"], (), ConfigError, r"a folder of it is '\.\.'"),
        ("rgb", ["flow"], (), CheckpointError, "trained on other data: streams rgb, here flow"),
        ("rgb", ["rgb"], ("--model.network.hidden_dim=5",), CheckpointError, "expected"),
        ({"rgb": "rgb"}, ["rgb"], (), ConfigError, "but the model has no branches: name one run"),
        ({"rgb": "rgb"}, ["rgb", "obj"], FUSION, ConfigError, "has branches rgb, obj"),
        ({"rgb": "obj", "obj": "rgb"}, ["rgb", "obj"], FUSION, CheckpointError, "streams obj, he"),
        ("rgb", ["rgb", "obj"], FUSION, CheckpointError, "streams rgb, here rgb, obj"),
    ],
)
def test_what_does_not_fit_is_refused(folder, init_from, streams, options, error, message):
    with pytest.raises(error, match=message) as raised:
        begin(folder, init_from, streams, *options)
    assert "\n" not in str(raised.value)


def test_another_seed_or_an_unfinished_run_is_no_start(folder):
    with pytest.raises(ConfigError, match="rgb/split_1/seed_3 is missing"):
        begin(folder, "rgb", ["rgb"], place=Place(folder / "runs", 1, 3))
    metrics = folder / "runs/rgb/split_1/seed_0/metrics.json"
    content = metrics.read_text()
    metrics.unlink()
    with pytest.raises(ConfigError, match="rgb/split_1/seed_0 is not finished: train it first"):
        begin(folder, "rgb", ["rgb"])
    metrics.write_text(content)


def test_a_chain_that_lacks_its_first_run_leaves_nothing(folder, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["fit", *words(folder, "late", ["rgb"], "--init_from=early")])
    assert exit_.value.code == 2
    assert "init_from names the run 'early', but " in capsys.readouterr().err
    assert not (folder / "runs/late").exists()


def test_fit_starts_there_and_its_checkpoint_is_bound_to_its_streams(folder, capsys):
    still = "--model.optimizer.lr=0.0"
    main(["fit", *words(folder, "second", ["rgb"], "--init_from=rgb", still)])
    first, second = weights(folder, "rgb"), weights(folder, "second")
    assert all(torch.equal(first[name], second[name]) for name in first)
    config = folder / "runs/second/split_1/seed_0/config.yaml"
    assert yaml.safe_load(config.read_text())["init_from"] == "rgb"
    checkpoint = f"--ckpt_path={config.parent / 'checkpoints/last.ckpt'}"
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        main(["test", *words(folder, "third", ["obj"]), checkpoint])
    assert exit_.value.code == 2
    assert (
        "was trained on other data: streams rgb, here obj; features of" in capsys.readouterr().err
    )
    released = ["--data.scored_clips=released", "--data.short_past=pad"]
    main(["test", *words(folder, "released", ["rgb"]), checkpoint, *released])
    document = json.loads((folder / "runs/released/split_1/seed_0/metrics.json").read_text())
    assert document["caveat"] == "clips of RULSTM's public code"
