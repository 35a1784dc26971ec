"""Somebody's own network, model, data module and reader, in a module of their own folder."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from anticipate.cli import main
from tests.tiny import QUIET

pytestmark = pytest.mark.slow

MODULE = '''
"""A network, a model and a data set of digits that repeat, as a user writes them."""

import numpy as np
import torch
from torch import nn

import anticipate
from anticipate.datasets.release.releases import DenseRelease, LabelledVideo


class Copycat(anticipate.Denoiser):
    """Says of every token what the noise says, mapped by one matrix."""

    method = "Copycat"

    def __init__(self, num_classes: int, feature_dim: int, scale: float = 1.0) -> None:
        super().__init__()
        self.labels = nn.Linear(num_classes, num_classes)
        self.features = nn.Linear(feature_dim, num_classes)
        self.scale = scale

    def encode(self, features, observed):
        padded = nn.functional.pad(features, (0, 0, 0, observed.shape[1] - features.shape[1]))
        return self.features(padded) * observed.unsqueeze(-1)

    def forward(self, x_t, t, condition, observed, valid, self_cond=None):
        x_0 = self.scale * (self.labels(x_t) + condition) * valid.unsqueeze(-1)
        return anticipate.DenoiserOutput(x_0, x_0.new_zeros(0, 1, len(x_0), 1))


class OneHot:
    """Features that name the class."""

    feature_dim, synthetic = 3, True

    def describe(self):
        return {}

    def fingerprint(self):
        return "one hot"

    def rows(self, video):
        yield np.eye(3, dtype=np.float32)[video.labels]


class Digits(anticipate.DenseDataModule):
    """Videos that count to three again and again.

    Args:
        path: HDF5 file.
        sample_rate: Frames per token.
        **settings: Settings that all dense data sets share.
    """

    dataset = "digits"
    title = "Digits"
    release = "digits that repeat"

    def __init__(self, path: str = "digits.h5", sample_rate: int = 2, **settings) -> None:
        super().__init__(path, sample_rate, **settings)

    @staticmethod
    def group_of(video_id: str) -> str:
        return video_id

    @classmethod
    def add_release_options(cls, parser) -> None:
        parser.add_argument("--videos", type=int, default=6)
        parser.set_defaults(stride=1)

    @classmethod
    def read_release(cls, options):
        frames = np.repeat(np.arange(60) % 3, 4).astype(np.int16)
        videos = tuple(
            LabelledVideo(f"v{n}", np.roll(frames, n), "count", len(frames))
            for n in range(options.videos)
        )
        names = [video.video_id for video in videos]
        splits = {"1": {"train": names[2:], "test": names[:2]}}
        names = ("one", "two", "three")
        return DenseRelease("digits", 10.0, names, videos, splits, "made up"), OneHot()


class Constant(anticipate.DenseAnticipator):
    """Forecasts one class for ever."""

    def __init__(
        self, num_classes: int, sample_rate: int, feature_dim: int, label: int = 1
    ) -> None:
        super().__init__(num_classes, sample_rate)
        self.bias, self.label = nn.Parameter(torch.zeros(())), label

    def training_step(self, batch):
        return self.bias.square() + batch.features.mean() * 0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def forecast(self, batch):
        from anticipate.types import DenseForecast

        return DenseForecast(torch.full((1, *batch.frame_targets.shape), self.label))


class Short(Constant):
    """Forecasts tokens instead of frames."""

    def forecast(self, batch):
        return super().forecast(batch)._replace(preds=batch.targets[None])
'''

SETTINGS = """
data: {class_path: outside.Digits}
model: MODEL
trainer: {max_epochs: 1}
"""
COPYCAT = """
  class_path: DiffusionAnticipator
  init_args:
    denoiser: {class_path: outside.Copycat, init_args: {scale: 0.5}}
    num_samples: 2
    num_inference_steps: 2
"""
MODELS = {
    "copycat": COPYCAT,
    "constant": "{class_path: outside.Constant, init_args: {label: 2}}",
    "short": "{class_path: outside.Short}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the module, settings, and a data file, for which a command found the module."""
    here = tmp_path_factory.mktemp("outside")
    (here / "outside.py").write_text(MODULE)
    for name, model in MODELS.items():
        (here / f"{name}.yaml").write_text(SETTINGS.replace("MODEL", model))
    # As with the console script, the current folder is not on the import path.
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(here))])
        main(["prepare", "outside.Digits", "--output", "digits.h5", "--videos", "5"])
    return here


@pytest.fixture
def inside(folder, monkeypatch):
    """The folder as the current one, whose modules commands find."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    return folder


def run(command, name, *options):
    main([command, "--config", f"{name}.yaml", *QUIET, "--figures.num_videos=1", *options])


def test_everything_works_with_classes_of_one_s_own(inside, refusal, capsys):
    main(["sweep", "copycat.yaml", "constant.yaml", "--dry-run"])
    planned = capsys.readouterr().out
    assert "copycat" in planned
    assert "constant" in planned
    run("fit", "copycat")
    folder = Path("runs/copycat/split_1/seed_0")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model"]["init_args"]["denoiser"]["class_path"] == "outside.Copycat"
    run("predict", "copycat", "--ckpt_path=last")
    assert (folder / "predictions.h5").is_file()
    ckpt = str(folder / "checkpoints" / "last.ckpt")
    refusal(main, ["explain", "experts", "--ckpt", ckpt, "--data", "digits.h5", "--output", "x"])
    run("fit", "constant")
    document = json.loads(Path("runs/constant/split_1/seed_0/metrics.json").read_text())
    assert 0 < document["scores"]["Constant"]["0.2"]["mof"]["0.5"] < 100


def test_a_forecast_of_another_shape_is_refused_before_the_training(inside, refusal):
    told = refusal(run, "fit", "short")
    assert "anticipate: Short.forecast returned DenseForecast, torch.int64 (1, 4, 96): " in told
    assert "expected DenseForecast, integers (samples, 4, 192 or more)" in told
    assert not Path("runs/short").exists()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("broken.Digits", "importing module 'broken' failed (SyntaxError: "),
        ("outside.Copycat", "outside.Copycat is not a data set: expected a subclass of"),
    ],
)
def test_a_wrong_path_is_one_line(inside, refusal, path, message):
    Path("broken.py").write_text("class Digits(\n")
    assert message in refusal(main, ["prepare", path, "--output", "x.h5"])
