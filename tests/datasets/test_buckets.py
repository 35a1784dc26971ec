import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.datasets.batches.buckets import Draw, LengthBuckets, evaluation_order

LENGTHS = np.random.default_rng(0).lognormal(6.0, 0.8, size=1000).astype(np.int64)


def items_of(batches):
    return [draw.item for batch in batches for draw in batch]


def padded_tokens(batches):
    return sum(len(batch) * max(LENGTHS[draw.item] for draw in batch) for batch in batches)


@given(st.integers(1, 90), st.integers(1, 9), st.integers(1, 4), st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_every_rank_gets_equally_many_equal_batches_and_together_all_items(
    num_items, batch_size, world_size, epoch
):
    ranks = []
    for rank in range(world_size):
        buckets = LengthBuckets(LENGTHS[:num_items], batch_size, 0, rank, world_size)
        buckets.set_epoch(epoch)
        ranks.append(list(buckets))
        assert len(ranks[-1]) == len(buckets)
    assert len({tuple(len(batch) for batch in batches) for batches in ranks}) == 1
    drawn = [item for batches in ranks for item in items_of(batches)]
    assert set(drawn) == set(range(num_items))
    assert len(drawn) - num_items == -num_items % world_size
    assert max(len(batch) for batch in ranks[0]) <= batch_size


@given(st.integers(1, 90), st.integers(1, 9), st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_only_whole_batches_remain_when_the_last_is_dropped(num_items, batch_size, world_size):
    process = (LENGTHS[:num_items], batch_size, 0, world_size - 1, world_size)
    every, whole = LengthBuckets(*process), LengthBuckets(*process, drop_last=True)
    assert list(whole) == [batch for batch in every if len(batch) == batch_size]
    assert len(whole) == len(list(whole))


def test_one_process_draws_every_item_exactly_once():
    assert sorted(items_of(LengthBuckets(LENGTHS, 16, seed=3))) == list(range(1000))


def test_buckets_pad_little_where_random_batches_double_the_work():
    order = np.random.default_rng(1).permutation(1000)
    random = [[Draw(int(i), 0) for i in order[start : start + 16]] for start in range(0, 1000, 16)]
    assert padded_tokens(random) > 2 * LENGTHS.sum()
    assert padded_tokens(LengthBuckets(LENGTHS, 16, seed=0)) < 1.15 * LENGTHS.sum()


def test_ranks_work_on_similar_lengths_in_the_same_step():
    first, second = (LengthBuckets(LENGTHS, 8, 0, rank, 2) for rank in range(2))
    longest = [
        [max(LENGTHS[draw.item] for draw in batch) for batch in batches]
        for batches in (first, second)
    ]
    assert np.corrcoef(longest)[0, 1] > 0.95


def test_steps_come_in_no_order_of_length():
    longest = [max(LENGTHS[draw.item] for draw in batch) for batch in LengthBuckets(LENGTHS, 8, 0)]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3


def test_epochs_and_seeds_differ_and_repeat_exactly():
    buckets = LengthBuckets(LENGTHS, 16, seed=0)
    first = list(buckets)
    buckets.set_epoch(1)
    second = list(buckets)
    assert items_of(first) != items_of(second)
    assert items_of(first) != items_of(LengthBuckets(LENGTHS, 16, seed=1))
    buckets.set_epoch(0)
    assert list(buckets) == first
    assert {draw.epoch for batch in second for draw in batch} == {1}


def test_a_run_resumed_at_an_epoch_draws_what_an_uninterrupted_one_draws():
    uninterrupted = LengthBuckets(LENGTHS, 16, seed=0)
    for epoch in range(4):
        uninterrupted.set_epoch(epoch)
        batches = list(uninterrupted)
    resumed = LengthBuckets(LENGTHS, 16, seed=0)
    resumed.sampler.set_epoch(3)
    assert list(resumed) == batches


@pytest.mark.parametrize("world_size", [1, 3, 7])
def test_evaluation_gives_each_item_to_one_process(world_size):
    ranks = [evaluation_order(LENGTHS[:20], rank, world_size) for rank in range(world_size)]
    assert sorted(draw.item for rank in ranks for draw in rank) == list(range(20))
    for rank in ranks:
        lengths = [LENGTHS[draw.item] for draw in rank]
        assert lengths == sorted(lengths, reverse=True)
