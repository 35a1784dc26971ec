"""Figures of a run: what is drawn when, and that training does not notice."""

from functools import partial

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader

from anticipate.datasets.synthetic import Synthetic
from anticipate.errors import ConfigError
from anticipate.figures.saved import TRUTH, read_timelines, read_usage
from anticipate.models.diffusion_anticipator import DiffusionAnticipator
from anticipate.nn.mixant import MixANT
from anticipate.training.callbacks import expert_usage as usage_module
from anticipate.training.callbacks import forecast_figures as module
from anticipate.training.callbacks.expert_usage import ExpertUsage
from anticipate.training.callbacks.forecast_figures import ForecastFigures

pytestmark = pytest.mark.slow

PNG_HEAD = b"\x89PNG"


class Restless(DiffusionAnticipator):
    """A model whose forecasts draw from the global generator, and which counts them."""

    forecasts = 0

    def forecast(self, batch):
        torch.rand(3)
        self.forecasts += 1
        assert not any(part.training for part in self.modules())
        return super().forecast(batch)


class ByVideo(Synthetic):
    """Holds out single videos: the small file has one person to train on."""

    @staticmethod
    def group_of(video_id):
        return video_id


def make_data(path, **settings):
    defaults = {"obs_ratios": (0.2,), "train_obs_ratios": (0.2,), "augment": False}
    return ByVideo(str(path), batch_size=5, **{**defaults, **settings})


def make_model(data, num_experts=3, router="unified", dropout=0.3):
    torch.manual_seed(0)
    sizes = {"d_model": 8, "num_layers": 3, "num_static_layers": 1, "d_state": 2}
    network = partial(MixANT, num_experts=num_experts, router=router, dropout=dropout, **sizes)
    return Restless(
        data.num_classes,
        data.feature_dim,
        data.sample_rate,
        obs_ratios=data.obs_ratios,
        denoiser=network,
        num_inference_steps=2,
        num_samples=2,
    )


def make_trainer(folder, callbacks, logger=None, **settings):
    if logger is None:
        logger = TensorBoardLogger(folder, name="", version="run")
    defaults = {"max_epochs": 2, "limit_train_batches": 2, "limit_val_batches": 0}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(
        accelerator="cpu",
        logger=logger,
        default_root_dir=folder,
        callbacks=callbacks,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **{**defaults, **quiet, **settings},
    )


def image_tags(folder):
    events = EventAccumulator(str(folder / "run")).Reload()
    return {tag: [event.step for event in events.Images(tag)] for tag in events.Tags()["images"]}


class Modes(Callback):
    """Freezes a module at the start and notes every mode at the end of each epoch."""

    def __init__(self):
        self.seen = []

    def on_train_start(self, trainer, pl_module):
        pl_module.denoiser.time.eval()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append([part.training for part in pl_module.modules()])


def test_training_does_not_notice_the_figures(synthetic_file, tmp_path):
    weights, modes = [], []
    for name, extra in {"plain": [], "drawn": [ForecastFigures(1, 2, 1), ExpertUsage()]}.items():
        pl.seed_everything(1, verbose=False)
        data, watch = make_data(synthetic_file), Modes()
        model = make_model(data)
        make_trainer(tmp_path / name, [*extra, watch]).fit(model, data)
        weights.append(model.state_dict())
        modes.append(watch.seen)
        assert model.forecasts == (2 if extra else 0)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert modes[0] == modes[1]
    assert not all(modes[1][-1])


@pytest.mark.parametrize("validation_fraction", [0.0, 0.4])
def test_training_draws_held_out_videos_first_and_never_test_videos(
    synthetic_file, tmp_path, validation_fraction
):
    data = make_data(synthetic_file, validation_fraction=validation_fraction)
    callback = ForecastFigures(num_videos=2, num_samples=1, every_n_epochs=2)
    make_trainer(tmp_path, [callback], max_epochs=3).fit(make_model(data), data)
    tags = image_tags(tmp_path)
    allowed = data.val_videos or data.train_videos
    assert len(tags) == 2
    for tag, steps in tags.items():
        assert tag.removeprefix("forecast/") in allowed
        assert steps == [4]  # once, after the second epoch of two steps


def test_a_test_writes_a_timeline_per_video_and_ratio(synthetic_file, tmp_path):
    data = make_data(synthetic_file, obs_ratios=(0.2, 0.3))
    model = make_model(data)
    make_trainer(tmp_path, [ForecastFigures(2, 2)]).test(model, data, verbose=False)
    files = sorted((tmp_path / "run" / "figures").glob("*.png"))
    names = [file.stem.removeprefix("timeline_") for file in files]
    assert len(names) == 4
    assert {name.rpartition("_obs")[0] for name in names} <= set(data.test_videos)
    assert {name.rpartition("_obs")[2] for name in names} == {"0.2", "0.3"}
    assert all(file.read_bytes()[:4] == PNG_HEAD for file in files)
    assert sorted(image_tags(tmp_path)) == [f"forecast_test/{name}" for name in names]
    assert model.forecasts == -(-len(data.test_dataset) // data.eval_batch_size)


def test_a_test_keeps_what_it_drew_for_reports(synthetic_file, tmp_path):
    data, choices = make_data(synthetic_file), []
    model = make_model(data)
    model.denoiser.register_forward_hook(
        lambda denoiser, inputs, output: choices.append(output.gamma.numpy().argmax(axis=-1))
    )
    callbacks = [ForecastFigures(1, 2), ExpertUsage()]
    make_trainer(tmp_path, callbacks).test(model, data, verbose=False)
    (timeline,) = read_timelines(tmp_path / "run" / "figures")
    truth = data.store.labels(timeline.video_id)
    assert list(timeline.rows) == [TRUTH, "sample 1", "sample 2"]
    truth = truth[: len(timeline.rows[TRUTH])]
    np.testing.assert_array_equal(timeline.rows[TRUTH], truth)
    assert all(timeline.classes[label] == data.vocabulary[label] for label in truth)
    expected = (np.concatenate(choices, axis=-1)[..., None] == np.arange(3)).mean(axis=2)
    np.testing.assert_allclose(read_usage(tmp_path / "run" / "figures"), expected, atol=1e-6)
    assert len(model.denoiser._forward_hooks) == 1


def test_forecasts_drawn_between_epochs_do_not_count_as_training(synthetic_file, tmp_path):
    data = make_data(synthetic_file)
    usage = {}
    for name, extra in {"plain": [], "drawn": [ForecastFigures(1, 2, 1)]}.items():
        callback = ExpertUsage()
        callback._usage = lambda trainer, name=name, own=callback: usage.update({name: own._counts})
        trainer = make_trainer(tmp_path / name, [*extra, callback], max_epochs=1)
        trainer.fit(make_model(data), data)
    assert torch.equal(usage["plain"], usage["drawn"])


def test_figures_show_the_forecast_beside_the_truth(synthetic_file, tmp_path, monkeypatch):
    calls = []
    real = module.timeline_figure
    monkeypatch.setattr(module, "timeline_figure", lambda *args: calls.append(args) or real(*args))
    data = make_data(synthetic_file)
    make_trainer(tmp_path, [ForecastFigures(1, 2)]).test(make_model(data), data, verbose=False)
    ((rows, observed_frames, classes, fps, title, note),) = calls
    video_id = title.split(",")[0]
    num_frames = data.store.num_frames(video_id)
    horizon = int((0.2 + 0.5) * num_frames)
    assert list(rows) == ["ground truth", "sample 1", "sample 2"]
    np.testing.assert_array_equal(rows["ground truth"], data.store.labels(video_id)[:horizon])
    assert {len(labels) for labels in rows.values()} == {horizon}
    assert observed_frames == int(0.2 * num_frames)
    assert (classes, fps, note) == (data.vocabulary, 10, "synthetic features")


def test_other_loggers_get_no_figures_in_training_and_files_in_a_test(synthetic_file, tmp_path):
    data = make_data(synthetic_file)
    model = make_model(data)
    trainer = make_trainer(
        tmp_path, [ForecastFigures(1, 1, 1), ExpertUsage()], CSVLogger(tmp_path, "", "run")
    )
    trainer.fit(model, data)
    assert model.forecasts == 0
    trainer.test(model, data, verbose=False)
    names = sorted(file.name for file in (tmp_path / "run" / "figures").iterdir())
    assert names[:2] == ["expert_usage.json", "expert_usage.png"]
    assert [name.rpartition(".")[2] for name in names[2:]] == ["json", "png"]


def test_without_a_logger_nothing_is_written(synthetic_file, tmp_path):
    data = make_data(synthetic_file)
    trainer = make_trainer(tmp_path, [ForecastFigures(1, 1, 1), ExpertUsage()], logger=False)
    trainer.fit(make_model(data), data)
    trainer.test(make_model(data), data, verbose=False)
    assert not list(tmp_path.rglob("*.png"))


class ReferenceCounts(Callback):
    """Counts the choices of the routers in the passes that train, in plain numpy."""

    def on_train_start(self, trainer, pl_module):
        self.choices = []
        pl_module.denoiser.register_forward_hook(self.note)

    def note(self, denoiser, inputs, output):
        if output.gamma.requires_grad:
            self.choices.append(output.gamma.detach().numpy().argmax(axis=-1))


@pytest.mark.parametrize("router", ["unified", "independent"])
def test_usage_counts_each_training_item_once(synthetic_file, tmp_path, monkeypatch, router):
    drawn = []
    real = usage_module.usage_figure
    monkeypatch.setattr(
        usage_module, "usage_figure", lambda *args: drawn.append(args) or real(*args)
    )
    data, reference = make_data(synthetic_file), ReferenceCounts()
    model = make_model(data, router=router)
    trainer = make_trainer(
        tmp_path, [ExpertUsage(), reference], max_epochs=1, limit_train_batches=1.0
    )
    trainer.fit(model, data)
    choices = np.concatenate(reference.choices, axis=-1)
    assert choices.shape == (2, 1 if router == "unified" else 2, len(data.train_dataset))
    expected = (choices[..., None] == np.arange(3)).mean(axis=2)
    ((usage, title, note),) = drawn
    np.testing.assert_allclose(usage, expected, atol=1e-6)
    assert title.endswith("epoch 1")
    assert note == "synthetic features"
    assert list(image_tags(tmp_path)) == ["router/usage"]


def test_a_network_without_mixture_has_no_usage(synthetic_file, tmp_path):
    data = make_data(synthetic_file)
    make_trainer(tmp_path, [ExpertUsage()]).fit(make_model(data, num_experts=1), data)
    assert image_tags(tmp_path) == {}


class Interruption(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        assert len(pl_module.denoiser._forward_hooks) == 1
        raise RuntimeError("the cable was pulled")


def test_no_hook_outlives_training(synthetic_file, tmp_path):
    data = make_data(synthetic_file)
    model = make_model(data)
    with pytest.raises(RuntimeError, match="cable"):
        make_trainer(tmp_path / "torn", [ExpertUsage(), Interruption()]).fit(model, data)
    assert not model.denoiser._forward_hooks
    make_trainer(tmp_path / "whole", [ExpertUsage()], max_epochs=1).fit(model, data)
    assert not model.denoiser._forward_hooks


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: ForecastFigures(num_videos=0), "num_videos"),
        (lambda: ForecastFigures(num_samples=0), "num_samples"),
        (lambda: ForecastFigures(every_n_epochs=0), "every_n_epochs"),
        (lambda: ExpertUsage(every_n_epochs=-1), "every_n_epochs"),
    ],
)
def test_counts_below_one_are_refused(make, name):
    with pytest.raises(ConfigError, match=f"{name} is .*: expected 1 or more"):
        make()


def test_data_without_class_names_is_refused(synthetic_file, tmp_path):
    data = make_data(synthetic_file)
    model = make_model(data)
    trainer = make_trainer(tmp_path, [ForecastFigures()])
    with pytest.raises(ConfigError, match="data module"):
        trainer.test(model, DataLoader(data.test_dataset), verbose=False)
