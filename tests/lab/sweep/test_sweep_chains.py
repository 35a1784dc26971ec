"""Experiments that start from the weights of others: their order, and what is missing."""

import pytest

from anticipate.errors import ConfigError
from anticipate.lab.sweep.folder import share_results
from anticipate.lab.sweep.plan import Planned, in_stages, plan


def names(stages):
    return [[run.name for run in stage] for stage in stages]


def chain(folders):
    """A fusion of two branches, each with a stage before it, in the order of their names."""
    return [
        folders.run("a_fusion", **{"init_from.rgb": "b_rgb", "init_from.flow": "c_flow"}),
        folders.run("b_rgb", init_from="d_rgb"),
        folders.run("c_flow", init_from="e_flow"),
        folders.run("d_rgb", **{"data.init_args.streams": ["rgb"]}),
        folders.run("e_flow", **{"data.init_args.streams": ["flow"]}),
    ]


def test_no_run_comes_before_those_it_starts_from(folders):
    stages = in_stages(plan(chain(folders)))
    assert names(stages) == [["d_rgb", "e_flow"], ["b_rgb", "c_flow"], ["a_fusion"]]


def test_a_model_of_labels_comes_after_the_run_that_observes_for_it(folders, tmp_path):
    model = {"model.class_path": "anticipate.SegmentAnticipator"}
    observation = "model.init_args.observation"
    for source in ("ground_truth", "labels.h5", str(tmp_path)):
        alone = folders.run("a", **model, **{observation: source})
        assert names(in_stages(plan([alone, folders.run("b")]))) == [["a", "b"]]
    after = folders.run("a", **model, **{observation: "b"})
    assert names(in_stages(plan([after, folders.run("b")]))) == [["b"], ["a"]]
    with pytest.raises(ConfigError, match=r"'a' needs the run in .*runs/b/split_1/seed_0, which"):
        in_stages(plan([after]))


def test_each_split_and_seed_is_a_chain_of_its_own(folders):
    runs = [
        folders.run(name, seed=seed, **own)
        for seed in (0, 1)
        for name, own in (("b", {"init_from": "a"}), ("a", {}))
    ]
    folders.finish(runs[1])  # the first run of seed 0
    (first, second) = in_stages(plan(runs))
    assert [(run.name, run.seed) for run in first] == [("b", 0), ("a", 1)]
    assert [(run.name, run.seed) for run in second] == [("b", 1)]


def test_a_chain_goes_on_where_it_stopped(folders):
    runs = chain(folders)
    for run in runs[3:]:
        folders.finish(run)
    folders.begin(runs[1])
    assert names(in_stages(plan(runs))) == [["b_rgb", "c_flow"], ["a_fusion"]]


def test_equal_runs_stand_for_each_other(folders):
    first, same = folders.run("a"), folders.run("z")
    last = folders.run("b", init_from="z")
    planned = plan([last, first, same])
    assert planned[2].same_as == first.folder
    assert names(in_stages(planned)) == [["a"], ["b"]]
    folders.finish(first)
    share_results(same.folder, first.folder, folders.run_dir)
    assert names(in_stages([Planned(last, "train")])) == [["b"]]


def test_a_first_run_that_is_missing_is_named(folders):
    with pytest.raises(ConfigError, match=r"'b' needs the run in .*runs/a/split_1/seed_0, w"):
        in_stages(plan([folders.run("b", init_from="a")]))
    with pytest.raises(ConfigError, match=r"a folder of it is '\.\.'"):
        in_stages(plan([folders.run("b", init_from="../a")]))


def test_a_circle_is_refused(folders):
    runs = [folders.run("a", init_from="b"), folders.run("b", init_from="a")]
    with pytest.raises(ConfigError, match="need each other in a circle: a, b"):
        in_stages(plan(runs))
