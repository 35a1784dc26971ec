import pickle
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

import anticipate.datasets
from anticipate.catalog import data_sets
from anticipate.datasets import Assembly101, Breakfast, Salads50, Synthetic
from anticipate.datasets.batches import file_module
from anticipate.errors import ConfigError, DataError

TRAIN = {f"P{p:02}_cam{c:02}_P{p:02}_tea": 40 + 3 * p + c for p in range(3, 11) for c in (1, 2)}
TEST = {f"P{p:02}_cam01_P{p:02}_milk": 40 + p for p in range(20, 30)}


class Recorder(LightningModule):
    """Notes what it is fed."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.fed = {"fit": [], "validate": [], "test": [], "predict": []}

    def feed(self, stage, batch):
        rows = zip(batch.video_ids, batch.obs_ratios, strict=True)
        self.fed[stage].append((self.current_epoch, tuple(rows)))

    def training_step(self, batch, batch_idx):
        self.feed("fit", batch)
        return self.weight**2

    def validation_step(self, batch, batch_idx):
        self.feed("validate", batch)

    def test_step(self, batch, batch_idx):
        self.feed("test", batch)

    def predict_step(self, batch, batch_idx):
        self.feed("predict", batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(**settings):
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=settings.pop("enable_checkpointing", False),
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **settings,
    )


@pytest.fixture
def path(tiny_store):
    return str(tiny_store(TRAIN, TEST).path)


def test_training_sees_every_item_once_an_epoch_in_new_orders_and_cuts(path):
    model = Recorder()
    trainer(max_epochs=3).fit(model, datamodule=Breakfast(path, batch_size=5))
    epochs = [[rows for at, rows in model.fed["fit"] if at == epoch] for epoch in range(3)]
    for batches in epochs:
        videos = [video for rows in batches for video, _ in rows]
        assert sorted(videos) == sorted(list(TRAIN) * 3)
        assert len(batches) == 10
    assert epochs[0] != epochs[1] != epochs[2]
    assert model.fed["validate"] == []


def test_a_resumed_run_is_fed_what_an_uninterrupted_one_is_fed(path, tmp_path):
    whole, first, second = Recorder(), Recorder(), Recorder()
    trainer(max_epochs=4).fit(whole, datamodule=Breakfast(path))
    interrupted = trainer(max_epochs=2)
    interrupted.fit(first, datamodule=Breakfast(path))
    interrupted.save_checkpoint(tmp_path / "two.ckpt")
    trainer(max_epochs=4).fit(
        second, datamodule=Breakfast(path), ckpt_path=tmp_path / "two.ckpt", weights_only=True
    )
    assert first.fed["fit"] + second.fed["fit"] == whole.fed["fit"]


@pytest.mark.parametrize("stage", ["test", "predict"])
def test_every_test_video_is_scored_once_at_each_ratio(path, stage):
    model = Recorder()
    getattr(trainer(), stage)(model, datamodule=Breakfast(path, eval_batch_size=3))
    rows = [row for _, batch in model.fed[stage] for row in batch]
    assert sorted(rows) == sorted((video, ratio) for video in TEST for ratio in (0.2, 0.3))


def test_validation_uses_held_out_persons_of_the_training_set(path):
    model = Recorder()
    data = Breakfast(path, validation_fraction=0.25)
    trainer(max_epochs=1, num_sanity_val_steps=0).fit(model, datamodule=data)
    trained = {video for _, batch in model.fed["fit"] for video, _ in batch}
    validated = {video for _, batch in model.fed["validate"] for video, _ in batch}
    assert trained | validated == set(TRAIN)
    persons = [{video.split("_")[0] for video in videos} for videos in (trained, validated)]
    assert [len(group) for group in persons] == [6, 2]
    assert not persons[0] & persons[1]


def test_the_rank_of_the_trainer_divides_the_items(path):
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    seen = []
    for rank in range(2):
        data = Breakfast(path, augment=False)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2, strategy=strategy)
        test = [item for batch in data.test_dataloader() for item in batch.video_ids]
        train = [item for batch in data.train_dataloader() for item in batch.video_ids]
        seen.append((test, train))
    for part, videos, times in ((0, TEST, 2), (1, TRAIN, 3)):
        assert sorted(seen[0][part] + seen[1][part]) == sorted(list(videos) * times)


def test_a_subset_of_the_test_videos_is_spread_and_stated(path, capsys):
    data = Breakfast(path, limit_test_videos=5)
    data.setup("test")
    assert data.test_videos == tuple(sorted(TEST))[::2]
    assert capsys.readouterr().err == (
        "breakfast, split 1: 5 of 10 test videos, evenly spread (limit_test_videos), "
        "synthetic features\n"
    )


@pytest.mark.parametrize(
    ("stage", "settings", "text"),
    [
        ("fit", {}, "16 training videos, none held out for validation"),
        ("fit", {"validation_fraction": 0.5}, "8 training videos, 8 held out for validation"),
        ("validate", {"validation_fraction": 0.5}, "8 held-out training videos"),
        ("test", {}, "all 10 test videos"),
    ],
)
def test_each_stage_says_what_it_reads(path, capsys, stage, settings, text):
    Breakfast(path, **settings).setup(stage)
    expected = f"breakfast, split 1: {text}, synthetic features\n"
    assert capsys.readouterr().err == expected


def test_the_file_tells_the_sizes_of_the_network(path):
    data = Breakfast(path)
    assert (data.feature_dim, data.num_classes, data.sample_rate) == (3, 7, 3)
    assert data.vocabulary[6] == "class_6"
    assert data.synthetic is True


def test_train_transcripts_are_the_labels_of_the_videos_trained_on(path):
    data = Breakfast(path, validation_fraction=0.25)
    transcripts = data.train_transcripts()
    assert len(transcripts) == len(data.train_videos) == 12
    for video, transcript in zip(data.train_videos, transcripts, strict=True):
        assert (transcript.to_frames() == data.store.labels(video)).all()


def test_a_datamodule_can_be_pickled_after_use(path):
    data = Breakfast(path)
    data.setup("test")
    copied = pickle.loads(pickle.dumps(data))
    assert copied.test_videos == data.test_videos
    assert next(iter(copied.test_dataloader())).video_ids


@pytest.mark.parametrize(
    ("dataset", "sample_rate", "file"),
    [
        (Breakfast, 3, "data/breakfast.h5"),
        (Salads50, 6, "data/50salads.h5"),
        (Assembly101, 6, "data/assembly101.h5"),
        (Synthetic, 10, "data/synthetic.h5"),
    ],
)
def test_defaults_are_those_of_the_data_set(dataset, sample_rate, file):
    data = dataset()
    assert (data.path, data.sample_rate) == (file, sample_rate)
    assert data.obs_ratios == (0.2, 0.3)
    assert data.pred_ratios == (0.1, 0.2, 0.3, 0.5)


@pytest.mark.parametrize(
    ("dataset", "video_id", "group"),
    [
        (Breakfast, "P03_stereo01_P03_cereals", "P03"),
        (Salads50, "rgb-27-2", "rgb-27"),
        (
            Assembly101,
            "assembly_nusar-2021_action_both_9044-a08_9044_user_id_2021-02-19_083738_C10095_rgb",
            "nusar-2021_action_both_9044-a08_9044_user_id_2021-02-19_083738",
        ),
        (
            Assembly101,
            "disassembly_nusar-2021_action_both_9044-a08_9044_user_id_2021-02-19_083738"
            "_HMC_84347414_mono10bit",
            "nusar-2021_action_both_9044-a08_9044_user_id_2021-02-19_083738",
        ),
    ],
)
def test_what_must_stay_together_is_read_from_the_video_id(dataset, video_id, group):
    assert dataset.group_of(video_id) == group


def test_persons_of_the_synthetic_set_are_read_as_its_splits_are_made(synthetic_file):
    data = Synthetic(str(synthetic_file))
    persons = [
        {Synthetic.group_of(video) for video in videos}
        for videos in (data.train_videos, data.test_videos)
    ]
    assert not persons[0] & persons[1]
    assert len(persons[0] | persons[1]) < len(data.store.video_ids)


@pytest.mark.parametrize(
    ("dataset", "command"),
    [
        (Breakfast, "anticipate prepare breakfast --source DIR --output missing.h5"),
        (Salads50, "anticipate prepare 50salads --source DIR --output missing.h5"),
        (Synthetic, "anticipate prepare synthetic --output missing.h5"),
    ],
)
def test_a_missing_file_names_the_command_that_makes_it(dataset, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"missing.h5.*{command}"):
        dataset("missing.h5").setup("fit")


def test_a_file_of_another_data_set_is_refused(path):
    with pytest.raises(
        DataError, match="holds the data set 'breakfast', but Salads50 reads '50sal"
    ):
        Salads50(path).setup("fit")


@pytest.mark.parametrize(
    ("stage", "settings", "message"),
    [
        ("fit", {"split": 7}, "no split '7'; choose one of: 1"),
        ("validate", {}, "no videos to validate on: set validation_fraction, such as 0.1"),
    ],
)
def test_what_the_file_cannot_give_is_refused(path, stage, settings, message):
    with pytest.raises(ConfigError, match=message):
        Breakfast(path, **settings).setup(stage)


def test_a_sample_rate_between_the_stored_features_is_refused(tiny_store):
    store = tiny_store(TRAIN, TEST, stride=2)
    with pytest.raises(ConfigError, match="must be a multiple of 2, not 3"):
        Breakfast(str(store.path), sample_rate=3).setup("fit")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"obs_ratios": (0.2, 1.2)},
            r"obs_ratios has 1.2: expected shares of the video in \(0, 1\)",
        ),
        ({"train_obs_ratios": (0.0,)}, "train_obs_ratios has 0.0"),
        ({"pred_ratios": (0.7,)}, r"pred_ratios has 0.7: expected .* \(0, 0.5\]"),
        ({"validation_fraction": 1.0}, r"validation_fraction is 1.0: expected \[0, 1\)"),
        ({"sample_rate": 0}, "sample_rate is 0: expected 1 or more"),
        ({"batch_size": 0}, "batch_size is 0: expected 1 or more"),
        ({"eval_batch_size": -1}, "eval_batch_size is -1: expected 1 or more"),
        ({"limit_test_videos": 0}, "limit_test_videos is 0: expected 1 or more"),
        ({"num_workers": -1}, "num_workers is -1: expected 0 or more"),
        ({"seed": -1}, "seed is -1: expected 0 or more"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Breakfast(**settings)


def test_data_classes_are_listed_and_nothing_else_is_invented():
    assert {one.offer.load().dataset for one in data_sets().values()} == set(data_sets())
    assert {"breakfast", "50salads", "assembly101", "ek100", "ek55", "egtea"} <= set(data_sets())
    with pytest.raises(AttributeError, match="no attribute 'Breakfst'"):
        anticipate.datasets.Breakfst  # noqa: B018


@pytest.mark.parametrize(
    ("device", "processes", "requested", "expected"),
    [
        ("cpu", 1, None, 0),
        ("cuda", 1, None, 4),
        ("cuda", 8, None, 2),
        ("cuda", 32, None, 0),
        ("cuda", 1, 1, 1),
        ("cpu", 1, 2, 2),
    ],
)
def test_data_are_loaded_beside_a_gpu_not_beside_computing_cores(
    path, monkeypatch, device, processes, requested, expected
):
    data = Breakfast(path, num_workers=requested)
    strategy = SimpleNamespace(root_device=torch.device(device))
    data.trainer = SimpleNamespace(
        strategy=strategy, num_devices=processes, global_rank=0, world_size=processes
    )
    monkeypatch.setattr(file_module, "usable_cores", lambda: 16)
    loader = data.train_dataloader()
    assert loader.num_workers == expected
    assert loader.pin_memory == (device == "cuda")
