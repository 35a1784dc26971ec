"""UAAA on the command line, with every kind of observation."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from anticipate.cli import main
from anticipate.datasets.file.dense_file import DenseStore
from anticipate.figures.saved import read_timelines
from anticipate.training.loading import load

pytestmark = pytest.mark.slow

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
SMALL = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--data.limit_test_videos=3"]
SMALL += ["--figures.num_videos=1", "--trainer.accelerator=cpu", *QUIET]
SEEING = ["--config", str(EXPERIMENTS / "demo.yaml"), "--model.denoiser=Transformer", *SMALL]
SEEING += ["--model.denoiser.d_model=8", "--model.denoiser.num_layers=2", "--model.num_samples=2"]
SEEING += ["--model.num_inference_steps=2"]
UAAA = ["--config", str(EXPERIMENTS / "uaaa_breakfast.yaml"), "--data=Synthetic", *SMALL]
UAAA += ["--data.sample_rate=10", "--model.network.hidden_dim=8", "--model.network.state_dim=8"]
UAAA += ["--model.num_samples=3", "--model.length_unit=class"]
UNTESTED = "--trainer.limit_test_batches=0"


@pytest.fixture(scope="module")
def seeing(tmp_path_factory, synthetic_file):
    """The folder of a tiny model of features, with a predictions file."""
    words = [*SEEING, f"--data.path={synthetic_file}", f"--run_dir={tmp_path_factory.mktemp('a')}"]
    main(["fit", *words, UNTESTED])
    main(["predict", *words, "--ckpt_path=last"])
    return Path(words[-1].removeprefix("--run_dir=")) / "demo/split_1/seed_0"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, synthetic_file):
    """The folder of a tiny UAAA."""
    runs = tmp_path_factory.mktemp("b")
    main(["fit", *UAAA, f"--data.path={synthetic_file}", f"--run_dir={runs}", UNTESTED])
    return runs / "uaaa_breakfast/split_1/seed_0"


@pytest.fixture
def run(tmp_path, monkeypatch, synthetic_file, trained):
    """Run a command on the tiny UAAA in an empty folder; returns the run's folder."""
    monkeypatch.chdir(tmp_path)

    def command(name, *options):
        ckpt = [] if name == "fit" else [f"--ckpt_path={trained / 'checkpoints' / 'last.ckpt'}"]
        main([name, *UAAA, f"--data.path={synthetic_file}", *ckpt, *options])
        return tmp_path / "runs/uaaa_breakfast/split_1/seed_0"

    return command


@pytest.fixture
def fails(run, capsys):
    """Return what a training that must fail says; it must leave nothing behind."""

    def attempt(*options):
        with pytest.raises(SystemExit) as exit_:
            run("fit", *options)
        said = capsys.readouterr().err
        assert exit_.value.code == 2
        assert "Traceback" not in said
        assert not Path("runs").exists()
        return said[said.rindex("anticipate: ") :]

    return attempt


def rows(folder):
    return json.loads((folder / "metrics.json").read_text())["scores"]


def test_what_uaaa_observes_is_in_table_log_and_predictions(run, capsys, synthetic_file):
    folder = run("test")
    told = capsys.readouterr()
    assert "observed part: ground truth" in told.err
    assert "UAAA (ground" in told.out
    found = rows(folder)
    assert list(found) == [
        "UAAA (ground truth)",
        "UAAA (ground truth) (majority)",
        "last-label (each sample)",
        "last-label (ground truth)",
        "tri-gram (ground truth)",
        "tri-gram (ground truth, majority)",
    ]
    assert found["UAAA (ground truth)"]["0.2"]["num_samples"] == 3
    assert len(read_timelines(folder / "figures")) == 2  # one video, two ratios
    run("predict")
    with h5py.File(folder / "predictions.h5") as file, DenseStore(synthetic_file) as store:
        assert file.attrs["method"] == "UAAA (ground truth)"
        assert file.attrs["observation"] == "ground truth"
        for video, ratios in file.items():
            past = int(0.3 * store.num_frames(video))
            labels = np.tile(store.labels(video)[:past], (3, 1))
            np.testing.assert_array_equal(ratios["obs_0.3"][:, :past], labels)
    file = str(folder / "predictions.h5")
    main(["score", "dense", file, "--data", str(synthetic_file), "--json"])
    for ratio, scores in json.loads(capsys.readouterr().out).items():
        assert scores["mean_moc"] == pytest.approx(found["UAAA (ground truth)"][ratio]["mean_moc"])


def test_labels_of_a_run_and_of_its_predictions_file_are_one_observation(run, seeing, capsys):
    folder = run("test", f"--model.observation={seeing}")
    assert "observed part: labels predicted by Transformer (2)" in capsys.readouterr().err
    found = rows(folder)
    assert next(iter(found)) == "UAAA (labels predicted by Transformer (2))"
    assert "tri-gram (labels predicted by Transformer (2))" in found
    run("test", f"--model.observation={seeing / 'predictions.h5'}")
    assert rows(folder) == found


def test_a_loaded_uaaa_has_its_observing_run(trained, seeing, tmp_path, monkeypatch):
    beside = trained.parents[2] / "demo/split_1"
    beside.mkdir(parents=True, exist_ok=True)
    (beside / "seed_0").symlink_to(seeing)
    monkeypatch.chdir(tmp_path)
    model, data = load(trained, settings=["--model.observation=demo"])  # the name of a run
    assert model.method == "UAAA (labels predicted by Transformer (2))"
    transcripts = data.train_transcripts()
    lengths = np.concatenate([one.lengths[one.labels == 0] for one in transcripts])
    assert model.length_mean[0] == pytest.approx(lengths.mean())
    assert model.length_std[0] == pytest.approx(lengths.std())
    batch = next(iter(data.test_dataloader()))
    assert model.forecast(batch).preds.shape[0] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.split=2"], "predictions for split 1, here 2: predict with the data that"),
        (["--data.limit_test_videos=4"], "observations: "),
        (["--data.obs_ratios=[0.2,0.25]"], "lacks 3 of 6 observations: "),
    ],
)
def test_predictions_of_other_videos_are_refused(fails, seeing, options, message):
    assert message in fails(f"--model.observation={seeing / 'predictions.h5'}", *options)


def test_predictions_of_other_data_are_refused(fails, seeing, tmp_path):
    changed = tmp_path / "changed.h5"
    changed.write_bytes((seeing / "predictions.h5").read_bytes())
    with h5py.File(changed, "r+") as file:
        file.attrs["dataset"] = "breakfast"
    said = fails(f"--model.observation={changed}")
    assert "changed.h5 holds predictions for dataset breakfast, here synthetic" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.split=2"], "was trained on other data: split 1, here 2"),
        (
            ["--data.sample_rate=20"],
            "with sample rate 10, here it is 20: add --data.sample_rate 10",
        ),
    ],
)
def test_a_run_on_other_data_is_refused(fails, seeing, options, message):
    assert message in fails(f"--model.observation={seeing}", *options)


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        ("groundtruth", "observation is groundtruth: expected ground_truth, a predictions file"),
        ("nowhere.h5", "nowhere.h5: no such predictions file"),
    ],
)
def test_an_observation_that_is_none_is_refused(fails, observation, message):
    assert message in fails(f"--model.observation={observation}")


def test_transcripts_of_one_segment_leave_no_run_behind(fails, synthetic_file, tmp_path):
    file = tmp_path / "one.h5"
    file.write_bytes(synthetic_file.read_bytes())
    with h5py.File(file, "r+") as content:
        for video in content["videos"].values():
            video["labels"][:] = 1
    assert "none with two segments: there is nothing to learn" in fails(f"--data.path={file}")


def test_explain_refuses_uaaa_and_uaaa_labels_nothing_for_another(
    fails, trained, synthetic_file, capsys
):
    ckpt = ["--ckpt", str(trained / "checkpoints" / "last.ckpt")]
    with pytest.raises(SystemExit) as exit_:
        main(["explain", "experts", *ckpt, "--data", str(synthetic_file), "--output", "out"])
    assert exit_.value.code == 2
    assert "is of a model without experts: explain one of MixANT" in capsys.readouterr().err
    said = fails(f"--model.observation={trained}")
    assert "is a SegmentAnticipator, which labels no frames" in said
