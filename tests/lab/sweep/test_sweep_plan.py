"""What there is to do about runs: pure, on folders that no training made."""

import json
from pathlib import Path

import pytest

from anticipate.errors import ConfigError, RunExistsError
from anticipate.lab.sweep.folder import share_results
from anticipate.lab.sweep.plan import Choice, expand, plan
from anticipate.lab.sweep.task import options_now


def steps(runs):
    return [planned.step for planned in plan(runs)]


def read(options):
    """Stand in for reading files: their stem is the run name."""
    name = Path(options[options.index("--config") + 1]).stem
    own = {"run_dir": "own"} if name == "kept" else {"run_dir": "runs"}
    return {"run_name": name, "seed_everything": 7, "data.init_args.split": 2, **own}


def expanded(names, splits_of=lambda settings: (1, 2, 3), **choice):
    experiments = [Path(name) for name in names]
    return expand(experiments, Choice(**choice), read, splits_of)


def test_files_times_splits_times_seeds():
    runs = expanded(["a.yaml", "b.yaml"], seeds=(0, 1), splits="all")
    assert len({run.folder for run in runs}) == len(runs) == 2 * 3 * 2
    assert runs[3].folder == Path("runs/a/split_2/seed_1")
    assert runs[3].settings["data.init_args.split"] == 2
    assert runs[3].settings["seed_everything"] == 1


def test_seed_and_split_are_the_file_s_unless_chosen():
    assert [run.folder for run in expanded(["a.yaml"])] == [Path("runs/a/split_2/seed_7")]


def test_what_runs_start_from_is_trained_too_unless_it_is_finished(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments" / "ablations").mkdir(parents=True)
    for name in ("ablations/a", "b"):
        Path(f"experiments/{name}.yaml").touch()
    sources = {"c": "b", "b": "a", "d": "nowhere"}

    def with_sources(options):
        settings = read(options)
        source = sources.get(settings["run_name"])
        return settings | ({"init_from": source} if source else {})

    def names(first):
        return [run.name for run in expand([Path(first)], Choice(), with_sources, len)]

    assert names("c.yaml") == ["c", "b", "a"]
    assert names("d.yaml") == ["d"]
    done = Path("runs/b/split_2/seed_7")
    done.mkdir(parents=True)
    (done / "metrics.json").write_text('{"scores": {"a": {}}}')
    assert names("c.yaml") == ["c"]


def test_settings_reach_the_command_line_of_fit_after_the_files():
    (run,) = expanded(["a.yaml"], profile="demo", overrides=("trainer.max_epochs=3",), seeds=(4,))
    assert run.options == (
        *("--config", "a.yaml", "--profile", "demo", "--trainer.max_epochs=3"),
        *("--data.init_args.split=2", "--seed_everything=4", "--run_dir=runs"),
    )


def test_runs_go_where_their_file_says_unless_another_folder_is_chosen():
    assert [run.folder for run in expanded(["kept.yaml"])] == [Path("own/kept/split_2/seed_7")]
    (run,) = expanded(["kept.yaml"], run_dir=Path("other"))
    assert run.folder == Path("other/kept/split_2/seed_7")
    assert "--run_dir=other" in run.options


def test_two_files_with_one_run_name_are_refused():
    with pytest.raises(ConfigError, match=r"x/a.yaml and y/a.yaml have one run name, 'a'"):
        expanded(["x/a.yaml", "y/a.yaml"])


def test_a_file_that_cannot_be_read_is_named():
    def fail(options):
        raise ConfigError("no setting 'x'")

    with pytest.raises(ConfigError, match=r"a.yaml: no setting 'x'"):
        expand([Path("a.yaml")], Choice(Path("r")), fail, len)


def test_runs_are_trained_resumed_or_left_alone(folders):
    new, empty, unborn, begun, done = (
        folders.run(str(number), **{"trainer.max_epochs": number}) for number in range(5)
    )
    empty.folder.mkdir(parents=True)
    folders.begin(unborn, weights=False)
    folders.begin(begun)
    folders.finish(done)
    assert steps([new, empty, unborn, begun, done]) == [*["train"] * 3, "resume", "finished"]


@pytest.mark.parametrize(
    "text", ["", '{"scores": {', "[]", "3", '{"scores": {}}', '{"scores": null}', "[" * 9999]
)
def test_a_run_with_damaged_scores_is_tested_again(folders, text):
    run = folders.run("a")
    folders.finish(run)
    (run.folder / "metrics.json").write_text(text)
    assert steps([run]) == ["resume"]


def test_a_run_with_settings_that_are_no_text_is_named(folders):
    run = folders.run("a")
    folders.finish(run)
    (run.folder / "config.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(RunExistsError, match=r"config.yaml is not valid YAML: remove"):
        steps([run])


def test_runs_with_equal_settings_are_trained_once(folders):
    default, point, other = (
        folders.run("mixant"),
        folders.run("experts/5"),
        folders.run("x", seed=1),
    )
    planned = plan([default, point, other])
    assert [item.step for item in planned] == ["train", "same", "train"]
    assert planned[1].same_as == default.folder


@pytest.mark.parametrize(("leave", "step"), [("begin", "resume"), ("finish", "finished")])
def test_of_equal_runs_the_one_that_is_furthest_is_shared(folders, leave, step):
    default, point = folders.run("mixant"), folders.run("experts/5")
    getattr(folders, leave)(point)
    planned = plan([default, point])
    assert [item.step for item in planned] == ["same", step]
    assert planned[0].same_as == point.folder


def test_a_study_alone_follows_the_results_that_it_shared_before(folders):
    default, point = folders.run("mixant"), folders.run("experts/5")
    share_results(point.folder, default.folder, folders.run_dir)
    assert json.loads((point.folder / "same_as.json").read_text()) == {
        "same_as": "mixant/split_1/seed_0"
    }
    assert steps([point]) == ["train"], "the other is not finished"
    folders.finish(default)
    assert plan([point])[0].same_as == default.folder
    changed = folders.run("experts/5", **{"trainer.max_epochs": 9})
    assert steps([changed]) == ["train"], "the settings differ by now"


@pytest.mark.parametrize("leave", ["begin", "finish"])
def test_a_run_with_other_settings_is_refused_and_the_way_out_told(folders, leave):
    run = folders.run()
    getattr(folders, leave)(run, **{"trainer.max_epochs": 90})
    with pytest.raises(RunExistsError) as error:
        plan([run])
    assert "a run with trainer.max_epochs=90, the experiment now says 3" in str(error.value)
    assert f"another run_name or --run-dir, or remove {run.folder}" in str(error.value)


def test_settings_that_change_no_result_may_differ(folders):
    run = folders.run()
    quiet = {"trainer.enable_progress_bar": False, "ckpt_path": "last", "run_dir": "elsewhere"}
    folders.finish(run, **quiet, **{"figures.num_videos": 9})
    assert steps([run]) == ["finished"]


@pytest.mark.parametrize("damage", ["missing", "{", "[]"])
def test_a_half_deleted_folder_is_refused(folders, damage):
    run = folders.run()
    folders.finish(run)
    config = run.folder / "config.yaml"
    config.unlink() if damage == "missing" else config.write_text(damage)
    with pytest.raises(RunExistsError, match=f"remove {run.folder} to train it again"):
        plan([run])


def test_a_run_goes_on_from_its_last_epoch_or_begins_in_a_cleared_folder(folders):
    run = folders.run(options=["--config", "a.yaml"])
    folders.begin(run, weights=False)
    share_results(run.folder, folders.run("b").folder, folders.run_dir)
    assert "--ckpt_path=last" not in options_now(run)
    assert list(run.folder.iterdir()) == []
    folders.begin(run)
    assert options_now(run)[:2] == ("--config", "a.yaml")
    assert "--ckpt_path=last" in options_now(run)
    folders.finish(run)
    assert options_now(run) is None
