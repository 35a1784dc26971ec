"""Explaining experts: what is counted, how clusters are measured, and the files."""

import csv
import json
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.cli import main
from anticipate.lab.explain.routing_effect import estimate_error, forcing_cost, information
from anticipate.lab.explain.selections import clustering, embed, select
from anticipate.training.loading import load

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(demo_run):
    """Checkpoint of a tiny run."""
    return demo_run / "checkpoints" / "last.ckpt"


def reference_choices(ckpt, data):
    """The experts chosen in each step, by video."""
    model, module = load(ckpt, data, ["--model.num_samples=1", "--data.obs_ratios=[0.3]"])
    module.setup("test")
    gammas, chosen = [], {}
    model.denoiser.register_forward_hook(lambda m, i, output: gammas.append(output.gamma))
    for batch in module.test_dataloader():
        gammas.clear()
        model.forecast(batch)
        for row, video_id in enumerate(batch.video_ids):
            chosen[video_id] = [gamma[:, :, row].argmax(dim=-1).numpy() for gamma in gammas]
    return chosen


def test_selections_are_those_of_the_last_step_and_usage_those_of_all(trained, synthetic_file):
    found = select(trained, synthetic_file, None, 0.3)
    reference = reference_choices(trained, synthetic_file)
    assert set(found.ids) == set(reference)
    everyone = [reference[video_id] for video_id in found.ids]
    assert len(everyone[0]) == 2  # steps
    for chosen, steps in zip(found.chosen, everyone, strict=True):
        np.testing.assert_array_equal(chosen, steps[-1])
    experts = np.array(everyone)[..., None] == np.arange(3)
    np.testing.assert_allclose(found.usage, experts.mean(axis=(0, 1)))
    assert found.vectors.shape == (len(found.ids), 2 * 1 * 3)
    np.testing.assert_array_equal(found.vectors.sum(axis=1), 2)
    assert found.synthetic


def test_files_tables_and_numbers_are_written(trained, synthetic_file, tmp_path):
    paths = ["--ckpt", str(trained), "--without", str(trained), "--data", str(synthetic_file)]
    main(["explain", "experts", *paths, "--output", str(tmp_path / "out")])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    pictures = {
        f"{kind}{suffix}"
        for kind in ("usage", "selections")
        for suffix in ("", "_without_balancing")
    }
    expected = {f"{name}.{ending}" for name in pictures for ending in ("png", "svg")}
    assert names == expected | {
        "usage.csv",
        "selections.csv",
        "selections_without_balancing.csv",
        "experts.json",
    }
    document = json.loads((tmp_path / "out" / "experts.json").read_text())
    assert document["obs_ratio"] == 0.3
    assert document["with_balancing"]["checkpoint"] == str(trained)
    assert 0 <= document["without_balancing"]["knn_accuracy"] <= 100
    with (tmp_path / "out" / "usage.csv").open() as file:
        shares = list(csv.DictReader(file))
    assert len(shares) == 2 * 2 * 3
    assert sum(float(row["share"]) for row in shares) == pytest.approx(4)
    with (tmp_path / "out" / "selections.csv").open() as file:
        videos = list(csv.DictReader(file))
    assert len(videos) == document["with_balancing"]["num_videos"]
    assert {row["block1_router1"] for row in videos} <= {"1", "2", "3"}


def test_activities_that_decide_the_experts_cluster_and_others_do_not():
    rng = np.random.default_rng(0)
    activities = [f"activity {number % 4}" for number in range(80)]
    decided = np.eye(4)[[number % 4 for number in range(80)]]
    groups = [str(number) for number in range(80)]
    sure = clustering(decided, activities, groups)
    assert sure.silhouette == pytest.approx(1.0)
    assert sure.knn_accuracy == 100.0
    assert sure.shuffled_mean < 50
    random = clustering(rng.normal(size=(80, 6)), activities, groups)
    assert abs(random.knn_accuracy - random.shuffled_mean) < 4 * random.shuffled_deviation + 1


def test_neighbours_of_the_own_group_do_not_count():
    # Six views of each scene are equal; the scenes beside it show the other activity.
    vectors = np.repeat(np.arange(10.0), 6)[:, None]
    activities = ["a", "a", "a", "a", "a", "a", "b", "b", "b", "b", "b", "b"] * 5
    scenes = [str(number // 6) for number in range(60)]
    alone = [str(number) for number in range(60)]
    assert clustering(vectors, activities, alone).knn_accuracy == 100.0
    assert clustering(vectors, activities, scenes).knn_accuracy == 0.0


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_accuracy_does_not_depend_on_the_order_of_videos(random):
    rng = np.random.default_rng(random.randrange(1000))
    vectors = np.eye(3)[rng.integers(0, 3, 24)]
    activities = [str(label) for label in rng.integers(0, 3, 24)]
    groups = [str(number) for number in range(24)]
    order = rng.permutation(24)
    before = clustering(vectors, activities, groups)
    after = clustering(vectors[order], [activities[i] for i in order], groups)
    assert before.knn_accuracy == pytest.approx(after.knn_accuracy)


def test_one_activity_cannot_cluster():
    assert clustering(np.eye(6), ["salad"] * 6, list("abcdef")) is None
    assert clustering(np.eye(6), list("abcdef"), list("abcdef")) is None


def test_the_map_is_the_same_in_every_run():
    vectors = np.random.default_rng(0).normal(size=(12, 5))
    np.testing.assert_array_equal(embed(vectors), embed(vectors))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["explain", "exprets"], "exprets"),
        (
            ["explain", "experts", "--ckpt", "no.ckpt", "--data", "no.h5", "--output", "o"],
            "no.ckpt",
        ),
    ],
)
def test_mistakes_are_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "o").exists()


def test_experts_that_follow_the_activity_tell_all_of_it():
    activities = ["tea", "eggs", "salad"] * 20
    own = np.array([{"tea": 0, "eggs": 1, "salad": 2}[name] for name in activities])
    same = np.zeros_like(own)
    found = information(np.stack([own, same], axis=1)[:, :, None], activities)
    assert found.mutual_information == pytest.approx(math.log(3) / 2)  # mean of both routers
    assert found.shuffled_information < 0.1


def test_forcing_costs_nothing_where_experts_are_equal(trained, synthetic_file):
    model, module = load(trained, synthetic_file, ["--model.num_samples=1"])
    module.setup("test")
    batches = list(module.test_dataloader())[:1]
    for name, parameter in model.named_parameters():
        if name.endswith("A_log"):  # the experts of mixture blocks, and single matrices
            parameter.data[:] = parameter.data[:1]
    measure = partial(estimate_error, model, batches)
    equal = forcing_cost(model, measure)
    assert equal.forced_cost == [0.0, 0.0, 0.0]
    for name, parameter in model.named_parameters():
        if name.endswith("layer_scale"):
            parameter.data.fill_(1)
        if name.endswith("A_log") and len(parameter) > 1:
            parameter.data[2] += 3
    apart = forcing_cost(model, measure)
    assert apart.future_error != equal.future_error
    assert abs(apart.forced_cost[2]) > 0.01
    assert forcing_cost(model, measure) == apart  # the routers choose again
