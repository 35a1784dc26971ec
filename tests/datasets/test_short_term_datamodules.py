import math
import pickle
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer

from anticipate.datasets import EgteaGaze, EpicKitchens55, EpicKitchens100, SyntheticActions
from anticipate.errors import ConfigError, DataError
from anticipate.types import PAD_LABEL

MODULES = (EpicKitchens100, EpicKitchens55, EgteaGaze, SyntheticActions)
TRAIN = [
    (f"P{p:02}_01", 1 + 45 * i, 40 + 45 * i, (p + i) % 5) for p in range(1, 7) for i in range(8)
]
VALIDATION = [("P07_01", 20 + 33 * i, 70 + 33 * i, i % 5) for i in range(10)]
TEST = [("P08_01", 5 + 50 * i, 50 + 50 * i, 0) for i in range(6)]
SMALL = {"num_steps": 4, "batch_size": 7, "eval_batch_size": 3}


@pytest.fixture(scope="module")
def path(clip_store):
    unseen = {"unseen": ("P07_01_1003",)}
    return str(clip_store(TRAIN, VALIDATION, TEST, subsets=unseen).path)


class Recorder(LightningModule):
    """Notes the segments it is fed."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.fed = {"fit": [], "validate": [], "test": [], "predict": []}

    def feed(self, stage, batch):
        frames = tuple(map(tuple, batch.frames.tolist()))
        self.fed[stage].append((self.current_epoch, batch.segment_ids, frames))

    def training_step(self, batch, batch_idx):
        self.feed("fit", batch)
        return self.weight**2

    def validation_step(self, batch, batch_idx):
        self.feed("validate", batch)

    def test_step(self, batch, batch_idx):
        self.feed("test", batch)

    def predict_step(self, batch, batch_idx):
        self.feed("predict", batch)
        return batch.targets

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def segments(self, stage):
        return [segment for _, ids, _ in self.fed[stage] for segment in ids]


def trainer(**settings):
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **settings,
    )


def batches(data):
    yield from data.train_dataloader()
    yield from data.test_dataloader()
    for loader in data.val_dataloader():
        yield from loader


SEGMENTS = st.lists(
    st.tuples(st.sampled_from(["P01_01", "P02_01", "P03_01"]), st.integers(1, 300)).map(
        lambda row: (*row, row[1] + 40, row[1] % 5)
    ),
    min_size=3,
    max_size=8,
)


@pytest.mark.parametrize("module", MODULES)
@settings(max_examples=12, deadline=None, phases=[Phase.generate])
@given(
    segments=SEGMENTS,
    feature_fps=st.sampled_from(["1", "4", "7.5", "29.97", "30"]),
    chosen=st.fixed_dictionaries(
        {
            "anticipation_time": st.sampled_from([0.1, 0.25, 0.5, 1.0, 1.7]),
            "num_steps": st.integers(1, 6),
            "step_time": st.sampled_from([0.25, 0.5, 1.0]),
            "drift": st.booleans(),
            "overlap": st.sampled_from(["latest", "earliest"]),
            "short_past": st.sampled_from(["drop", "pad"]),
            "evaluate_on": st.sampled_from(["validation", "test"]),
            "seed": st.integers(0, 3),
        }
    ),
)
def test_nothing_after_the_anticipation_time_is_seen(
    clip_store, module, segments, feature_fps, chosen
):
    """Every feature is the number of its own frame, so a clip tells what it has seen."""
    last = ("P09_01", 400, 440, 0)  # something has a past in every part
    parts = ([*segments, last], [last, *segments], [*segments[:2], last])
    store = clip_store(*parts, dataset=module.dataset, feature_fps=feature_fps)
    data = module(str(store.path), **chosen)
    gap = 30 * Fraction(str(chosen["anticipation_time"]))
    widest = math.ceil(30 / Fraction(feature_fps))  # frames from one stored row to the next
    starts = {
        segment: start
        for part in ("train", "validation", "test")
        for table in (store.rows(1, part),)
        for segment, start in zip(table.segment_ids, table.starts.tolist(), strict=True)
    }
    for batch in batches(data):
        for segment, seen, frames in zip(
            batch.segment_ids, batch.features, batch.frames, strict=True
        ):
            limit = max(starts[segment] - gap, 0)
            assert seen.max().item() <= limit
            assert frames.max().item() <= limit
            assert (seen[:, 0] <= frames).all()
            assert (seen[:, 0] > frames - widest).all()


def test_a_batch_is_what_the_glossary_says(path):
    data = EpicKitchens100(path, step_time=0.5, **SMALL)
    batch = next(iter(data.test_dataloader()))
    assert batch.features.shape == (3, 4, 3)
    assert batch.features.dtype == torch.float32
    assert batch.step_targets.dtype == batch.targets.dtype == batch.frames.dtype == torch.int64
    assert (batch.step_targets[:, -1] == batch.targets).all()
    assert batch.segment_ids == ("P07_01_1001", "P07_01_1002", "P07_01_1003")
    assert batch.video_ids == ("P07_01",) * 3
    assert batch.frames.tolist() == [[8, 8, 8, 23], [11, 26, 41, 56], [44, 59, 74, 89]]


def test_steps_before_the_video_repeat_its_oldest_step(path):
    data = EpicKitchens100(path, step_time=0.5, **SMALL)
    batch = next(iter(data.test_dataloader()))
    assert batch.frames[0].tolist() == [8, 8, 8, 23]  # start 53: 23, 8, -7, -22
    assert batch.step_targets[0].tolist() == [PAD_LABEL, PAD_LABEL, 0, 1]
    assert batch.first_targets.tolist() == [PAD_LABEL, PAD_LABEL, 0]


def test_training_sees_every_clip_once_an_epoch_in_new_orders_and_drifts(path):
    model = Recorder()
    trainer(max_epochs=3).fit(model, datamodule=EpicKitchens100(path, **SMALL))
    epochs = [[(ids, frames) for at, ids, frames in model.fed["fit"] if at == e] for e in range(3)]
    seen = [[segment for ids, _ in epoch for segment in ids] for epoch in epochs]
    expected = sorted(f"{row[0]}_{i}" for i, row in enumerate(TRAIN) if row[1] > 30)
    assert all(sorted(order) == expected for order in seen)
    assert seen[0] != seen[1] != seen[2]
    drifts = [
        {
            segment: frames
            for ids, clips in epoch
            for segment, frames in zip(ids, clips, strict=True)
        }
        for epoch in epochs
    ]
    assert drifts[0] != drifts[1] != drifts[2]


def test_without_drift_clips_stay_where_they_are(path):
    data = EpicKitchens100(path, drift=False, **SMALL)
    (frames,) = {tuple(b.frames[b.segment_ids.index("P01_01_7")].tolist())
                 for b in data.train_dataloader() if "P01_01_7" in b.segment_ids}  # fmt: skip
    assert frames == (196, 226, 256, 286)


def test_a_resumed_run_is_fed_what_an_uninterrupted_one_is_fed(path, tmp_path):
    whole, first, second = Recorder(), Recorder(), Recorder()
    trainer(max_epochs=4).fit(whole, datamodule=EpicKitchens100(path, **SMALL))
    interrupted = trainer(max_epochs=2)
    interrupted.fit(first, datamodule=EpicKitchens100(path, **SMALL))
    interrupted.save_checkpoint(tmp_path / "two.ckpt")
    trainer(max_epochs=4).fit(
        second,
        datamodule=EpicKitchens100(path, **SMALL),
        ckpt_path=tmp_path / "two.ckpt",
        weights_only=True,
    )
    assert first.fed["fit"] + second.fed["fit"] == whole.fed["fit"]


@pytest.mark.parametrize("stage", ["test", "predict"])
@pytest.mark.parametrize(("short_past", "first"), [("drop", 1), ("pad", 0)])
def test_each_scored_segment_is_fed_once_in_order(path, stage, short_past, first):
    model = Recorder()
    data = EpicKitchens100(path, short_past=short_past, **SMALL)
    getattr(trainer(), stage)(model, datamodule=data)
    assert model.segments(stage) == [f"P07_01_{1000 + i}" for i in range(first, 10)]


def test_test_segments_are_all_predicted_and_have_no_labels(path):
    model = Recorder()
    data = EpicKitchens100(path, evaluate_on="test", **SMALL)
    targets = torch.cat(trainer().predict(model, datamodule=data))
    assert model.segments("predict") == [f"P08_01_{2000 + i}" for i in range(6)]
    assert (targets == PAD_LABEL).all()


def test_what_starts_before_anything_may_be_seen_is_given_zeros(path):
    data = EpicKitchens100(path, short_past="pad", **SMALL)
    batch = next(iter(data.test_dataloader()))
    assert batch.segment_ids[0] == "P07_01_1000"
    assert not batch.features[0].any()
    assert not batch.frames[0].any()
    assert batch.step_targets[0].tolist() == [PAD_LABEL] * 3 + [0]


def test_validation_uses_held_out_videos_of_the_training_part(path):
    model = Recorder()
    data = EpicKitchens100(path, validation_fraction=0.3, **SMALL)
    trainer(max_epochs=1, num_sanity_val_steps=0).fit(model, datamodule=data)
    videos = [{segment[:6] for segment in model.segments(stage)} for stage in ("fit", "validate")]
    assert [len(part) for part in videos] == [4, 2]
    assert not videos[0] & videos[1]
    assert sum(data.class_counts) == data.train_segments.num_rows == 32


def test_the_rank_of_the_trainer_divides_the_clips(path):
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    fed = {"train": [], "test": []}
    for rank in range(2):
        data = EpicKitchens100(path, short_past="pad", **SMALL)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2, strategy=strategy)
        for part in fed:
            loader = getattr(data, f"{part}_dataloader")()
            fed[part] += [segment for batch in loader for segment in batch.segment_ids]
    assert sorted(fed["train"]) == sorted(f"{row[0]}_{i}" for i, row in enumerate(TRAIN))
    assert sorted(fed["test"]) == sorted(f"P07_01_{1000 + i}" for i in range(10))


def test_the_file_tells_model_and_scores_what_they_need(path):
    data = EpicKitchens100(path)
    assert (data.feature_dim, data.num_classes, data.synthetic) == (3, 5, True)
    assert data.vocabulary[4] == "verb_4 noun_4"
    assert data.protocol.measures == "ek100"
    assert data.protocol.row_subsets["unseen"] == {"P07_01_1003"}
    assert data.protocol.taxonomy.nouns == (0, 1, 2, 3, 4)
    actions = [row[3] for row in TRAIN]
    assert data.class_counts == tuple(actions.count(action) for action in range(5))


@pytest.mark.parametrize(
    ("stage", "settings", "text"),
    [
        (
            "fit",
            {},
            "42 of 48 training segments (the others start too early to be anticipated), none held "
            "out for validation",
        ),
        ("fit", {"short_past": "pad"}, "all 48 training segments, none held out for validation"),
        (
            "fit",
            {"limit_train_rows": 10},
            "10 of 48 training segments (evenly spread), none held out for validation",
        ),
        (
            "test",
            {},
            "9 of 10 validation segments (the others start too early to be anticipated)",
        ),
        ("test", {"short_past": "pad"}, "all 10 validation segments"),
        ("test", {"limit_test_rows": 4}, "4 of 10 validation segments (evenly spread)"),
        ("predict", {"evaluate_on": "test"}, "all 6 test segments"),
        (
            "validate",
            {"validation_fraction": 0.5, "short_past": "pad"},
            "all 24 held-out training segments",
        ),
    ],
)
def test_each_stage_says_what_it_reads(path, capsys, stage, settings, text):
    EpicKitchens100(path, **settings).setup(stage)
    assert capsys.readouterr().err == f"ek100, split 1: {text}, synthetic features\n"


def test_subsets_are_evenly_spread(path):
    data = EpicKitchens100(path, limit_train_rows=6, limit_test_rows=3, num_steps=1)
    assert data.scored_part == f"3 of {len(data.test_segments)} segments"
    assert EpicKitchens100(path, num_steps=1).scored_part == ""
    assert data.train_dataset.rows.segment_ids == tuple(
        f"P{p:02}_01_{8 * p - 7}" for p in range(1, 7)
    )
    assert data.test_dataset.rows.segment_ids == ("P07_01_1001", "P07_01_1004", "P07_01_1007")
    assert sum(data.class_counts) == 48


def test_a_batch_that_is_not_full_can_be_left_out(path):
    whole, dropped = (
        [len(batch.segment_ids) for batch in data.train_dataloader()]
        for data in (EpicKitchens100(path, batch_size=20, drop_last=drop) for drop in (False, True))
    )
    assert sorted(whole) == [2, 20, 20]
    assert dropped == [20, 20]


def test_a_data_module_can_be_pickled_after_use(path):
    data = EpicKitchens100(path, **SMALL)
    expected = next(iter(data.test_dataloader()))
    copied = next(iter(pickle.loads(pickle.dumps(data)).test_dataloader()))
    assert torch.equal(copied.features, expected.features)


@pytest.mark.parametrize(
    ("module", "file", "gap"),
    [
        (EpicKitchens100, "data/ek100.h5", 1.0),
        (EpicKitchens55, "data/ek55.h5", 1.0),
        (EgteaGaze, "data/egtea.h5", 0.5),
        (SyntheticActions, "data/synthetic_actions.h5", 1.0),
    ],
)
def test_defaults_are_those_of_the_data_set(module, file, gap):
    data = module()
    assert (data.path, data.anticipation_time) == (file, gap)
    assert (data.num_steps, data.step_time, data.short_past) == (30, 1.0, "drop")


@pytest.mark.parametrize(
    ("stage", "settings", "message"),
    [
        ("test", {"evaluate_on": "test"}, "labels are withheld: use `anticipate predict`"),
        ("validate", {}, "no videos to validate on: set validation_fraction, such as 0.1"),
        ("fit", {"split": 2}, "no split '2'; choose one of: 1"),
        ("fit", {"drop_last": True}, "batch_size 128 with drop_last leaves none of the 42"),
    ],
)
def test_what_the_file_cannot_give_is_refused(path, stage, settings, message):
    with pytest.raises(ConfigError, match=message):
        EpicKitchens100(path, **settings).setup(stage)


def test_a_file_of_another_data_set_is_refused(path, synthetic_file, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="holds the data set 'ek100', but EgteaGaze reads 'egtea'"):
        EgteaGaze(path).setup("fit")
    with pytest.raises(DataError, match="'synthetic', a data set for dense anticipation"):
        EpicKitchens55(str(synthetic_file)).setup("fit")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"no.h5.*prepare synthetic_actions --output no.h5"):
        SyntheticActions("no.h5").setup("fit")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"anticipation_time": 0.0}, "anticipation_time is 0.0: expected seconds > 0"),
        ({"step_time": float("inf")}, "step_time is inf: expected seconds > 0"),
        ({"step_time": float("nan")}, "step_time is nan: expected seconds > 0"),
        ({"num_steps": 0}, "num_steps is 0: expected 1 or more"),
        ({"limit_train_rows": 0}, "limit_train_rows is 0: expected 1 or more"),
        ({"limit_test_rows": -1}, "limit_test_rows is -1: expected 1 or more"),
        ({"validation_fraction": 1.0}, r"validation_fraction is 1.0: expected \[0, 1\)"),
        ({"batch_size": 0}, "batch_size is 0: expected 1 or more"),
        ({"seed": -1}, "seed is -1: expected 0 or more"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        EpicKitchens100(**settings)
