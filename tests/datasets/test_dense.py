import math

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from anticipate.datasets.batches.buckets import Draw, LengthBuckets, evaluation_order
from anticipate.datasets.batches.dense_items import DenseDataset, augmented_ratio, collate_dense
from anticipate.errors import DataError
from anticipate.types import PAD_LABEL

VIDEOS = {"P03_cam01_P03_tea": 90, "P03_cam02_P03_tea": 61, "P04_cam01_P04_milk": 47}
RATIOS = (0.2, 0.3, 0.5)


def reference_item(store, video_id, obs_ratio, sample_rate):
    """One item by the protocol's words, frame by frame."""
    labels = store.labels(video_id)
    num_frames = len(labels)
    observed = [f for f in range(int(obs_ratio * num_frames)) if f % sample_rate == 0]
    labelled = [f for f in range(int((obs_ratio + 0.5) * num_frames)) if f % sample_rate == 0]
    return np.array(observed), labels[labelled]


def batches_equal(first, second):
    return all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("sample_rate", [1, 3, 10])
@pytest.mark.parametrize("augment_seed", [None, 0])
def test_an_item_is_the_observed_features_and_the_labels_up_to_the_horizon(
    tiny_store, sample_rate, augment_seed
):
    store = tiny_store(VIDEOS)
    dataset = DenseDataset(store, tuple(VIDEOS), RATIOS, sample_rate, augment_seed)
    for number in range(len(dataset)):
        item = dataset[Draw(number, 0)]
        frames, targets = reference_item(store, item.video_id, item.obs_ratio, sample_rate)
        assert item.video_id == tuple(VIDEOS)[number // 3]
        np.testing.assert_array_equal(item.features.numpy(), np.repeat(frames[:, None], 3, axis=1))
        np.testing.assert_array_equal(item.targets.numpy(), targets)
        assert item.targets.dtype == torch.int64
        np.testing.assert_array_equal(item.frame_targets.numpy(), store.labels(item.video_id))


def test_no_feature_of_the_future_is_ever_read(tiny_store):
    store = tiny_store(VIDEOS, stride=2)
    dataset = DenseDataset(store, tuple(VIDEOS), RATIOS, 2, augment_seed=5)
    for epoch in range(20):
        for number in range(len(dataset)):
            item = dataset[Draw(number, epoch)]
            assert item.features.max() < item.obs_ratio * item.num_frames


def test_lengths_are_the_tokens_of_the_items(tiny_store):
    dataset = DenseDataset(tiny_store(VIDEOS), tuple(VIDEOS), RATIOS, sample_rate=3)
    tokens = [len(dataset[Draw(number, 0)].targets) for number in range(len(dataset))]
    assert dataset.lengths.tolist() == tokens


def test_a_batch_pads_on_the_right_and_masks_what_it_pads(tiny_store):
    store = tiny_store(VIDEOS)
    dataset = DenseDataset(store, tuple(VIDEOS), RATIOS, 3)
    items = [dataset[Draw(number, 0)] for number in (2, 3, 6)]
    batch = collate_dense(items)
    assert batch.features.shape == (3, max(len(item.features) for item in items), 3)
    assert batch.targets.shape == batch.observed.shape == batch.valid.shape == (3, 30)
    assert batch.frame_targets.shape == (3, 90)
    for row, item in enumerate(items):
        observed, tokens = len(item.features), len(item.targets)
        assert torch.equal(batch.features[row, :observed], item.features)
        assert not batch.features[row, observed:].any()
        assert torch.equal(batch.targets[row][batch.valid[row]], item.targets)
        assert (batch.targets[row, tokens:] == PAD_LABEL).all()
        assert batch.observed[row].sum() == observed
        assert batch.observed[row, :observed].all()
        assert torch.equal(batch.frame_targets[row, : item.num_frames], item.frame_targets)
        assert (batch.frame_targets[row, item.num_frames :] == PAD_LABEL).all()
    assert batch.num_frames.tolist() == [90, 61, 47]
    assert batch.obs_ratios == (0.5, 0.2, 0.2)
    assert batch.video_ids == tuple(VIDEOS)


def test_observed_tokens_without_features_are_masked(tiny_store):
    short = {"P03_cam01_P03_tea": 20}
    dataset = DenseDataset(tiny_store(VIDEOS, num_feature_frames=short), tuple(VIDEOS), (0.5,), 3)
    batch = collate_dense([dataset[Draw(0, 0)], dataset[Draw(1, 0)]])
    assert batch.observed.sum(dim=1).tolist() == [math.ceil(20 / 3), math.ceil(30 / 3)]
    assert batch.valid.sum(dim=1).tolist() == [30, 21]


def test_augmentation_follows_its_law():
    # 3000 draws: binomial shares have a standard deviation below 0.009, uniform means below 0.0021.
    draws = np.array([augmented_ratio(f"video_{i}", 0.5, i % 7, seed=0) for i in range(3000)])
    moved = draws[draws != 0.5]
    assert abs(len(moved) / 3000 - 0.4) < 0.036
    assert moved.min() >= 0.15
    assert moved.max() < 0.40
    assert abs(moved.mean() - 0.275) < 0.009
    assert abs(np.mean(moved < 0.2) - 0.2) < 0.05


def test_augmentation_differs_by_video_ratio_epoch_and_seed():
    def pattern(video="a", listed=0.2, offset=0, seed=0):
        draws = [augmented_ratio(video, listed, offset + epoch, seed) for epoch in range(64)]
        return [draw if draw != listed else None for draw in draws]

    patterns = [pattern(), pattern("b"), pattern(listed=0.3), pattern(offset=64), pattern(seed=1)]
    assert len({tuple(entry) for entry in patterns}) == 5
    assert pattern() == pattern()


def test_evaluation_keeps_the_listed_ratios(tiny_store):
    dataset = DenseDataset(tiny_store(VIDEOS), tuple(VIDEOS), RATIOS, 3)
    drawn = [dataset.obs_ratio(Draw(n, e)) for e in range(20) for n in range(len(dataset))]
    assert drawn == list(RATIOS) * 3 * 20


def epochs_of_batches(dataset, **loading):
    buckets = LengthBuckets(dataset.lengths, 2, seed=0)
    loader = DataLoader(dataset, batch_sampler=buckets, collate_fn=collate_dense, **loading)
    for epoch in range(2):
        buckets.set_epoch(epoch)
        yield from loader


def test_batches_do_not_depend_on_workers(tiny_store):
    dataset = DenseDataset(tiny_store(VIDEOS), tuple(VIDEOS), RATIOS, 3, augment_seed=0)
    alone = list(epochs_of_batches(dataset))
    shared = list(epochs_of_batches(dataset, num_workers=2, persistent_workers=True))
    assert len(alone) == len(shared) == 2 * 5
    assert all(batches_equal(a, b) for a, b in zip(alone, shared, strict=True))
    assert [batch.obs_ratios for batch in alone[:5]] != [batch.obs_ratios for batch in alone[5:]]


def test_a_spawned_worker_opens_the_file_itself(tiny_store):
    store = tiny_store(VIDEOS)
    dataset = DenseDataset(store, tuple(VIDEOS), (0.2,), 3)
    store.labels("P03_cam01_P03_tea")  # the parent has the file open
    order = evaluation_order(dataset.lengths)
    loader = DataLoader(
        dataset,
        sampler=order,
        batch_size=3,
        collate_fn=collate_dense,
        num_workers=1,
        multiprocessing_context="spawn",
    )
    (batch,) = loader
    assert batches_equal(batch, collate_dense([dataset[draw] for draw in order]))


@pytest.mark.parametrize(
    ("sample_rate", "ratios", "augment_seed", "message"),
    [
        (10, (0.5,), None, r"'short' has 8 frames, less than one token of 10 frames: lower sample"),
        (3, (0.1, 0.2), None, r"'short' has no features in its first 0 of 8 frames .*ratio 0.1\)"),
        (3, (0.13,), None, r"'bare' has no features in its first 7 of 60 frames .*raise the ratio"),
    ],
)
def test_videos_without_a_token_are_named(tiny_store, sample_rate, ratios, augment_seed, message):
    videos = {"short": 8, "bare": 60}
    store = tiny_store(videos, num_feature_frames={"bare": 0})
    with pytest.raises(DataError, match=message):
        DenseDataset(store, tuple(videos), ratios, sample_rate, augment_seed)


def test_augmentation_is_reckoned_with_when_lengths_are_checked(tiny_store):
    store = tiny_store({"short": 6})
    DenseDataset(store, ("short",), (0.2,), 3)
    with pytest.raises(DataError, match=r"first 0 of 6 frames \(observation ratio 0.15\)"):
        DenseDataset(store, ("short",), (0.2,), 3, augment_seed=0)
