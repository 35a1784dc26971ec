"""Runs without trainings: folders as `anticipate fit` leaves them."""

import json
from pathlib import Path

import pytest
import yaml

from anticipate.lab.sweep.plan import Run

SETTINGS = {
    "seed_everything": 0,
    "run_name": "a",
    "data.init_args.split": 1,
    "trainer.max_epochs": 3,
}


def nested(settings):
    document = {}
    for key, value in settings.items():
        *parents, last = key.split(".")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return document


def metrics(score):
    ratios = {"0.2": {"mean_moc": {"0.1": score}, "top1_moc": {"0.1": score + 1}}}
    return {"kind": "dense", "scores": {"MixANT": ratios, "last-label": {}}}


class Folders:
    """Makes runs in one run_dir, and leaves in their folders what a training would."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir

    def run(self, name="a", split=1, seed=0, options=(), **settings):
        own = {"run_name": name, "data.init_args.split": split, "seed_everything": seed}
        folder = self.run_dir / name / f"split_{split}" / f"seed_{seed}"
        everything = {**SETTINGS, **own, **settings}
        return Run(name, split, seed, self.run_dir, folder, tuple(options), everything)

    def begin(self, run, weights=True, **settings):
        run.folder.mkdir(parents=True, exist_ok=True)
        document = nested({**run.settings, **settings})
        (run.folder / "config.yaml").write_text(yaml.safe_dump(document))
        if weights:
            (run.folder / "checkpoints").mkdir(exist_ok=True)
            (run.folder / "checkpoints" / "last.ckpt").write_bytes(b"weights")

    def finish(self, run, score=40.0, **settings):
        self.begin(run, **settings)
        (run.folder / "metrics.json").write_text(json.dumps(metrics(score)))


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path / "runs")


BASE = """
extends: {parent}
run_name: base
data: {{init_args: {{path: {data}}}}}
model:
  init_args:
    denoiser: {{init_args: {{d_model: 8, num_layers: 2, num_static_layers: 1, d_state: 2}}}}
    num_samples: 2
    num_inference_steps: 2
trainer: {{max_epochs: 1, enable_model_summary: false, limit_train_batches: 1}}
figures: {{num_videos: 1, num_samples: 1}}
"""

POINT = """
extends: ../base.yaml
run_name: study/{experts}
model: {{init_args: {{denoiser: {{init_args: {{num_experts: {experts}}}}}}}}}
"""


@pytest.fixture
def experiments(tmp_path, synthetic_file):
    """A folder of tiny experiments: a parent, a point, and a point that equals the parent."""
    folder = tmp_path / "experiments"
    (folder / "study").mkdir(parents=True)
    demo = Path(__file__).parents[3] / "experiments" / "demo.yaml"
    (folder / "base.yaml").write_text(BASE.format(parent=demo, data=synthetic_file))
    for experts in (2, 3):
        (folder / "study" / f"{experts}.yaml").write_text(POINT.format(experts=experts))
    return folder
