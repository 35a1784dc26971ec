"""A checkpoint knows what it was trained on, and is not used on other data unasked."""

import json
from pathlib import Path

import pytest
import torch

import anticipate
from anticipate.cli import main
from anticipate.datasets.file.dense_file import DenseStore
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.datasets.prepare import main as prepare
from anticipate.errors import CheckpointError
from anticipate.training.provenance import KEY

CKPT = "runs/demo/split_1/seed_0/checkpoints/last.ckpt"
QUICK = (f"--ckpt_path={CKPT}", "--data.limit_test_videos=2", "--dense_results.baselines=false")


def caveat(run):
    return json.loads(Path("runs", run, "seed_0", "metrics.json").read_text())["caveat"]


def test_a_checkpoint_records_its_data(demo_run, synthetic_file):
    record = torch.load(demo_run / "checkpoints" / "last.ckpt", weights_only=True)[KEY]
    with DenseStore(synthetic_file) as store:
        assert record["identity"] == store.identity
        assert record["classes"] == list(store.classes)
    assert (record["dataset"], record["split"], record["feature_dim"]) == ("synthetic", "1", 16)
    assert (record["sample_rate"], record["seed"]) == (10, 0)
    assert record["version"] == anticipate.__version__


@pytest.mark.parametrize("command", ["test", "predict", "fit"])
def test_another_split_is_refused(trained_demo, refusal, command):
    said = refusal(trained_demo, command, *QUICK, "--data.split=2", "--run_name=other")
    assert "was trained on other data: split 1, here 2; use the data of its training" in said
    assert not Path("runs/other").exists()


def test_another_file_of_the_data_set_is_refused(trained_demo, refusal):
    sizes = ["--videos=24", "--feature-dim=16"]
    prepare(["prepare", "synthetic", "--output", "other.h5", *sizes, "--seed=1"])
    said = refusal(trained_demo, "test", *QUICK, "--run_name=other", "--data.path=other.h5")
    assert "another data file" in said
    with pytest.raises(CheckpointError, match="another data file"):
        anticipate.load(CKPT, data="other.h5")
    anticipate.load(CKPT, data="other.h5", allow_foreign=True)


@pytest.mark.slow
def test_an_equal_file_is_the_same_data_at_any_sample_rate(trained_demo):
    prepare(["prepare", "synthetic", "--output", "again.h5", "--videos=24", "--feature-dim=16"])
    equal = ("--data.path=again.h5", "--data.sample_rate=20")
    trained_demo("test", *QUICK, "--run_name=again", *equal)
    assert caveat("again/split_1") is None


@pytest.mark.slow
def test_what_is_let_pass_is_marked_everywhere(trained_demo, capsys):
    foreign = ("--data.split=2", "--allow_foreign_checkpoint=true", "--run_name=foreign")
    trained_demo("test", *QUICK, *foreign)
    said = capsys.readouterr()
    assert "foreign checkpoint: split 1, here 2" in " ".join((said.out + said.err).split())
    assert caveat("foreign/split_2") == "foreign checkpoint: split 1, here 2"
    main(["report", "runs", "--output", "page"])
    page = Path("page/index.html").read_text()
    assert "Synthetic videos, synthetic features, foreign checkpoint" in page
    table = Path("page/tables/synthetic_synthetic_mean_moc.csv")
    assert "foreign" not in table.read_text()
    assert (table.parent / "synthetic_synthetic_foreign_checkpoint_mean_moc.csv").is_file()


@pytest.mark.slow
def test_an_older_checkpoint_is_judged_by_the_settings_of_its_run(trained_demo, refusal):
    content = torch.load(CKPT, weights_only=True)
    content.pop(KEY)
    for path in (CKPT, "lost.ckpt"):
        torch.save(content, path)
    other = ("test", *QUICK, "--data.split=2")
    assert "split 1, here 2" in refusal(trained_demo, *other, "--run_name=old")
    trained_demo(*other, "--ckpt_path=lost.ckpt", "--run_name=lost")
    assert caveat("lost/split_2") == "training data unknown"


def test_the_identity_follows_segments_too(actions_file, tmp_path):
    path = tmp_path / "more.h5"
    sizes = ["--videos=20", "--segments=13", "--feature-dim=8"]
    prepare(["prepare", "synthetic_actions", "--output", str(path), *sizes])
    with ShortTermStore(actions_file) as one, ShortTermStore(path) as other:
        assert one.identity != other.identity
