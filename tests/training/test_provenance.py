"""A checkpoint knows what it was trained on, and is not used on other data unasked."""

import json
from pathlib import Path

import lightning.pytorch  # noqa: F401  its log handler must meet the stderr of the session, not of one test
import pytest
import torch

import anticipate
from anticipate.cli import main
from anticipate.datasets.file.dense_file import DenseStore
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.datasets.prepare import main as prepare
from anticipate.errors import CheckpointError
from anticipate.training.provenance import KEY

TINY = (
    *("--model.denoiser.d_model=8", "--model.denoiser.num_layers=2", "--model.denoiser.d_state=2"),
    *("--model.denoiser.num_static_layers=1", "--model.num_samples=2"),
    *("--model.num_inference_steps=2", "--trainer.enable_progress_bar=false"),
    *("--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--data.limit_test_videos=2"),
    *("--trainer.enable_model_summary=false", "--dense_results.baselines=false"),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, synthetic_file):
    """A folder with the run `demo`, trained on split 1."""
    folder = tmp_path_factory.mktemp("provenance")
    words = ["--config", "experiments/demo.yaml", f"--data.path={synthetic_file}", *TINY]
    main(["fit", *words, f"--run_dir={folder / 'runs'}"])
    return folder


@pytest.fixture
def run(trained, synthetic_file, monkeypatch, capsys):
    """Run a command with the checkpoint; returns its exit code and what it said."""
    monkeypatch.chdir(trained)

    def command(name, *options, data=synthetic_file):
        words = ["--config", "experiments/demo.yaml", f"--data.path={data}", *TINY]
        capsys.readouterr()
        try:
            main([name, *words, *options])
            code = 0
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return command


CKPT = "runs/demo/split_1/seed_0/checkpoints/last.ckpt"


def test_a_checkpoint_records_its_data(trained, synthetic_file):
    record = torch.load(trained / CKPT, weights_only=True)[KEY]
    with DenseStore(synthetic_file) as store:
        assert record["identity"] == store.identity
        assert record["classes"] == list(store.classes)
    assert (record["dataset"], record["split"], record["feature_dim"]) == ("synthetic", "1", 16)
    assert (record["sample_rate"], record["seed"]) == (10, 0)
    assert record["version"] == anticipate.__version__


@pytest.mark.parametrize("command", ["test", "predict", "fit"])
def test_another_split_is_refused(run, trained, command):
    code, said = run(command, f"--ckpt_path={CKPT}", "--data.split=2", f"--run_name={command}_2")
    assert code == 2
    assert "was trained on other data: split 1, here 2; use the data of its training" in said
    assert not (trained / "runs" / f"{command}_2").exists()


def test_another_file_of_the_data_set_is_refused(run, tmp_path):
    other = tmp_path / "other.h5"
    sizes = ["--videos=24", "--feature-dim=16"]
    prepare(["prepare", "synthetic", "--output", str(other), *sizes, "--seed=1"])
    code, said = run("test", f"--ckpt_path={CKPT}", "--run_name=other", data=other)
    assert code == 2
    assert "another data file" in said
    with pytest.raises(CheckpointError, match="another data file"):
        anticipate.load(CKPT, data=other)
    anticipate.load(CKPT, data=other, allow_foreign=True)


def test_an_equal_file_is_the_same_data(run, tmp_path):
    again = tmp_path / "again.h5"
    prepare(["prepare", "synthetic", "--output", str(again), "--videos=24", "--feature-dim=16"])
    code, _ = run("test", f"--ckpt_path={CKPT}", "--run_name=again", data=again)
    assert code == 0
    document = json.loads(Path("runs/again/split_1/seed_0/metrics.json").read_text())
    assert document["caveat"] is None


def test_another_sample_rate_is_allowed(run):
    code, _ = run("test", f"--ckpt_path={CKPT}", "--run_name=rate", "--data.sample_rate=20")
    assert code == 0


@pytest.mark.slow
def test_what_is_let_pass_is_marked_everywhere(run, trained):
    foreign = ("--data.split=2", "--allow_foreign_checkpoint=true", "--run_name=foreign")
    code, said = run("test", f"--ckpt_path={CKPT}", *foreign)
    assert code == 0
    assert "foreign checkpoint: split 1, here 2" in " ".join(said.split())
    document = json.loads((trained / "runs/foreign/split_2/seed_0/metrics.json").read_text())
    assert document["caveat"] == "foreign checkpoint: split 1, here 2"
    main(["report", str(trained / "runs"), "--output", str(trained / "page")])
    page = (trained / "page" / "index.html").read_text()
    assert "Synthetic videos, synthetic features, foreign checkpoint" in page
    table = trained / "page/tables/synthetic_synthetic_mean_moc.csv"
    assert "foreign" not in table.read_text()
    assert (table.parent / "synthetic_synthetic_foreign_checkpoint_mean_moc.csv").is_file()


@pytest.mark.slow
def test_an_older_checkpoint_is_judged_by_the_settings_of_its_run(run, trained, tmp_path):
    content = torch.load(trained / CKPT, weights_only=True)
    content.pop(KEY)
    old, lost = trained / "runs/demo/split_1/seed_0/checkpoints/old.ckpt", tmp_path / "lost.ckpt"
    for path in (old, lost):
        torch.save(content, path)
    code, said = run("test", f"--ckpt_path={old}", "--data.split=2", "--run_name=old")
    assert (code, "split 1, here 2" in said) == (2, True)
    code, said = run("test", f"--ckpt_path={lost}", "--data.split=2", "--run_name=lost")
    assert code == 0
    document = json.loads((trained / "runs/lost/split_2/seed_0/metrics.json").read_text())
    assert document["caveat"] == "training data unknown"


def test_the_identity_follows_segments_too(actions_file, tmp_path):
    path = tmp_path / "more.h5"
    sizes = ["--videos=20", "--segments=13", "--feature-dim=8"]
    prepare(["prepare", "synthetic_actions", "--output", str(path), *sizes])
    with ShortTermStore(actions_file) as one, ShortTermStore(path) as other:
        assert one.identity != other.identity
