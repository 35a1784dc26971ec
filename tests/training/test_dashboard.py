"""The table of settings in TensorBoard: what a run adds to it."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from anticipate.training.callbacks.dashboard import MAIN, add_row, settings

CONFIG = {
    "run_name": "experts/5",
    "seed_everything": 3,
    "data": {"class_path": "anticipate.Synthetic", "init_args": {"split": 1, "path": "a.h5"}},
    "model": {
        "class_path": "anticipate.models.DiffusionAnticipator",
        "init_args": {
            "denoiser": {"class_path": "anticipate.nn.MixANT", "init_args": {"num_experts": 5}},
            "ema_decay": None,
            "obs_ratios": [0.2, 0.3],
        },
    },
    "trainer": {"max_epochs": 4, "logger": True},
    "figures": {"num_videos": 2},
}


def test_settings_are_named_by_their_path_and_classes_by_themselves():
    assert settings(CONFIG) == {
        "run_name": "experts/5",
        "seed_everything": 3,
        "data": "Synthetic",
        "data.split": 1,
        "data.path": "a.h5",
        "model": "DiffusionAnticipator",
        "model.denoiser": "MixANT",
        "model.denoiser.num_experts": 5,
        "model.ema_decay": "null",
        "model.obs_ratios": "[0.2, 0.3]",
        "trainer.max_epochs": 4,
    }


def test_a_row_holds_settings_and_scores_and_fixes_no_columns(tmp_path):
    add_row(tmp_path, settings(CONFIG), {"test/mean_moc": 30.0})
    events = EventAccumulator(str(tmp_path / "hparams")).Reload()
    assert events.Tags()["scalars"] == ["test/mean_moc"]
    found = events.PluginTagToContent("hparams")
    assert set(found) == {metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG}
    content = found[metadata.SESSION_START_INFO_TAG]
    start = metadata.parse_session_start_info_plugin_data(content)
    assert start.hparams["model.denoiser.num_experts"].number_value == 5
    assert start.hparams["run_name"].string_value == "experts/5"


def test_main_scores_are_few():
    names = ["test/mean_moc", "test/top1_moc/obs0.3_pred0.5", "test/overall/action"]
    others = ["val/mean_moc", "test/top1_moc/obs0.2_pred0.5", "test/seen/action", "train/loss"]
    assert [name for name in names + others if MAIN.fullmatch(name)] == names
