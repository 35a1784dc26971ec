"""What a test costs, and the file that its results are written to."""

import json
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch

from anticipate import __version__
from anticipate.models.dense_anticipator import DenseAnticipator
from anticipate.training.callbacks import efficiency as module
from anticipate.training.callbacks.efficiency import Efficiency, efficiency
from anticipate.training.callbacks.run_files import write_metrics
from anticipate.types import DenseForecast


class Model(DenseAnticipator):
    def __init__(self):
        super().__init__(num_classes=2, sample_rate=1)
        self.layer = torch.nn.Linear(3, 4)

    def forecast(self, batch):
        return DenseForecast(preds=torch.zeros(7, len(batch.video_ids), 5, dtype=torch.int64))


def make_trainer(*callbacks):
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=list(callbacks)
    )


def measure(monkeypatch, durations, rows):
    """Run forecasts of these lengths in seconds past the callback."""
    clock = iter([moment for d in durations for moment in (10.0, 10.0 + d)])
    monkeypatch.setattr(module, "_now", lambda device: next(clock))
    callback, model = Efficiency(), Model()
    trainer = make_trainer(callback)
    callback.on_test_start(trainer, model)
    for size in rows:
        model.forecast(SimpleNamespace(video_ids=("v",) * size))
    callback.on_test_end(trainer, model)
    assert model.forecast.__func__ is Model.forecast
    return efficiency(trainer, model)


def test_the_first_batch_does_not_count_and_long_batches_weigh_more(monkeypatch):
    summary = measure(monkeypatch, (100.0, 4.0, 2.0), (2, 2, 1))
    assert summary["seconds_per_video"] == pytest.approx((4.0 + 2.0) / 3)
    assert summary["num_samples"] == 7
    assert summary["parameters"] == 3 * 4 + 4
    assert summary["peak_memory_bytes"] is None or summary["peak_memory_bytes"] > 2**20


def test_a_single_batch_counts(monkeypatch):
    assert measure(monkeypatch, (3.0,), (2,))["seconds_per_video"] == pytest.approx(1.5)


def test_the_computing_of_a_resumed_training_goes_on_from_its_checkpoint(monkeypatch):
    clock = iter((5.0, 8.0, 20.0, 21.0, 23.5))
    monkeypatch.setattr(module.time, "process_time", lambda: next(clock))
    first = Efficiency()
    saved = first.state_dict()
    resumed = Efficiency()
    resumed.load_state_dict(saved)
    assert saved == {"cpu_seconds": 3.0}
    assert resumed.summary(Model())["cpu_seconds"] == 3.0 + 2.5


def test_without_batches_or_callback_nothing_is_made_up(monkeypatch):
    assert measure(monkeypatch, (), ())["seconds_per_video"] is None
    assert efficiency(make_trainer(), Model()) is None


def test_the_file_is_json_with_its_version_and_null_for_what_is_not_measured(tmp_path):
    path = write_metrics(tmp_path / "run", {"kind": "dense", "scores": {"m": float("nan")}})
    expected = {"version": __version__, "kind": "dense", "scores": {"m": None}}
    assert json.loads(path.read_text()) == expected
    assert [file.name for file in path.parent.iterdir()] == ["metrics.json"]


def test_a_document_that_cannot_be_written_leaves_the_old_file(tmp_path):
    path = write_metrics(tmp_path, {"kind": "dense"})
    before = path.read_text()
    with pytest.raises(TypeError):
        write_metrics(tmp_path, {"kind": object()})
    assert path.read_text() == before
