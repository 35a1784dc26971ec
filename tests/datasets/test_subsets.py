from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.datasets.batches.subsets import held_out, spread
from anticipate.errors import ConfigError

VIDEOS = tuple(f"P{p:02}_cam{c:02}_tea" for p in range(10) for c in range(3))


def person(video_id):
    return video_id.split("_")[0]


@given(st.floats(0.01, 0.9))
@settings(max_examples=50, deadline=None)
def test_groups_are_held_out_whole(fraction):
    held = held_out(VIDEOS, person, fraction)
    persons = {person(video) for video in held}
    assert len(persons) == max(round(10 * fraction), 1)
    assert set(held) == {video for video in VIDEOS if person(video) in persons}


def test_nothing_is_held_out_unless_asked_for():
    assert held_out(VIDEOS, person, 0.0) == ()


def test_the_same_videos_are_held_out_whatever_their_order():
    assert set(held_out(VIDEOS[::-1], person, 0.3)) == set(held_out(VIDEOS, person, 0.3))


def test_a_group_is_left_to_train_on():
    with pytest.raises(ConfigError, match="holds out 10 of 10 groups of training videos: lower it"):
        held_out(VIDEOS, person, 0.99)
    with pytest.raises(ConfigError, match="holds out 1 of 1 groups"):
        held_out(VIDEOS[:3], person, 0.1)


@given(st.integers(1, 30), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_a_subset_is_spread_evenly_over_the_sorted_videos(num_videos, limit):
    ordered = sorted(VIDEOS)[:num_videos]
    chosen = spread(tuple(reversed(ordered)), limit)
    positions = [ordered.index(video) for video in chosen]
    assert len(chosen) == min(limit, num_videos)
    gaps = [after - before for before, after in pairwise(positions)]
    assert positions[0] == 0
    assert all(abs(gap - num_videos / len(chosen)) < 1 for gap in gaps)


def test_without_a_limit_all_videos_stay():
    assert spread(VIDEOS, None) == tuple(sorted(VIDEOS))
