"""Somebody's own network, model, data module and reader, in a module of their own folder."""

import json
import os
import subprocess
import sys

import pytest
import yaml

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

COPYCAT = """
data: {class_path: mine.Digits}
model:
  class_path: DiffusionAnticipator
  init_args:
    denoiser: {class_path: mine.Copycat, init_args: {scale: 0.5}}
    num_samples: 2
    num_inference_steps: 2
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
"""
CONSTANT = """
data: {class_path: mine.Digits}
model: {class_path: mine.Constant, init_args: {label: 2}}
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the module, its settings and its data file."""
    here = tmp_path_factory.mktemp("outside")
    (here / "mine.py").write_text(MODULE)
    (here / "copycat.yaml").write_text(COPYCAT)
    (here / "constant.yaml").write_text(CONSTANT)
    (here / "short.yaml").write_text(CONSTANT.replace("Constant", "Short"))
    anticipate(here, "prepare", "mine.Digits", "--output", "digits.h5", "--videos", "5")
    return here


def anticipate(folder, *words, code=0):
    """Run a command as the console script does, whose own folder is first on the import path."""
    script = "import sys; sys.path.pop(0); from anticipate.cli import main; main(sys.argv[1:])"
    result = subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == code, result.stderr[-3000:]
    return result.stdout + result.stderr


@pytest.mark.slow
def test_everything_works_with_classes_of_one_s_own(folder):
    anticipate(folder, "sweep", "copycat.yaml", "constant.yaml")
    config = yaml.safe_load((folder / "runs/copycat/split_1/seed_0/config.yaml").read_text())
    assert config["model"]["init_args"]["denoiser"]["class_path"] == "mine.Copycat"
    scores = json.loads((folder / "runs/constant/split_1/seed_0/metrics.json").read_text())[
        "scores"
    ]
    assert 0 < scores["Constant"]["0.2"]["mof"]["0.5"] < 100
    words = ("--config", "copycat.yaml", "--ckpt_path", "last")
    assert "predictions.h5" in anticipate(folder, "predict", *words)
    ckpt = "runs/copycat/split_1/seed_0/checkpoints/last.ckpt"
    told = anticipate(folder, "explain", "experts", "--ckpt", ckpt, code=2)
    assert "Traceback" not in told


def test_a_forecast_of_another_shape_is_refused_before_the_training(folder):
    told = anticipate(folder, "fit", "--config", "short.yaml", code=2)
    assert "anticipate: Short.forecast returned DenseForecast, torch.int64 (1, 4, 96): " in told
    assert "expected DenseForecast, integers (samples, 4, 192 or more)" in told
    assert not (folder / "runs/short").exists()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("broken.Digits", "importing module 'broken' failed (SyntaxError: "),
        ("mine.Copycat", "mine.Copycat is not a data set: expected a subclass of"),
    ],
)
def test_a_wrong_path_is_one_line(folder, path, message):
    (folder / "broken.py").write_text("class Digits(\n")
    told = anticipate(folder, "prepare", path, "--output", "x.h5", code=2)
    assert message in told
    assert "Traceback" not in told
