from collections import Counter

import numpy as np
import pytest

from anticipate.datasets.release.synthesis import seeded_generator
from anticipate.datasets.synthetic import CLASSES, MAX_SHIFT, RECIPES, invent, transcript
from anticipate.errors import ConfigError


@pytest.fixture(scope="module")
def release():
    return invent(144)


def names_of(labels):
    changes = np.flatnonzero(np.diff(labels, prepend=-1))
    return [CLASSES[label] for label in labels[changes]]


def test_every_class_and_activity_occurs_in_train_and_test(release):
    for parts in release.splits.values():
        for ids in parts.values():
            videos = [video for video in release.videos if video.video_id in set(ids)]
            assert {video.activity for video in videos} == set(RECIPES)
            assert set(np.concatenate([video.labels for video in videos])) == set(
                range(len(CLASSES))
            )


def test_splits_hold_out_different_persons_with_all_their_cameras(release):
    held_out = []
    for parts in release.splits.values():
        persons = {part: {name.split("_")[0] for name in ids} for part, ids in parts.items()}
        assert not persons["train"] & persons["test"]
        assert len(parts["train"]) + len(parts["test"]) == len(release.videos)
        held_out.append(persons["test"])
    assert not held_out[0] & held_out[1]


def test_cameras_film_the_same_performance_with_a_small_shift(release):
    for first, second in zip(release.videos[::2], release.videos[1::2], strict=True):
        shift = len(first.labels) - len(second.labels)
        assert 1 <= shift <= MAX_SHIFT
        np.testing.assert_array_equal(first.labels[shift:], second.labels)
        assert second.video_id == first.video_id.replace("cam01", "cam02")


def test_videos_begin_and_end_with_background(release):
    for video in release.videos:
        names = names_of(video.labels)
        assert names[0] == names[-1] == "background"
        assert "background" not in names[1:-1]


def test_a_late_action_depends_on_an_early_one_that_trigrams_do_not_see():
    """What follows tea bag and water is decided by sugar that was fetched two steps earlier."""
    followers: dict[bool, Counter] = {True: Counter(), False: Counter()}
    for i in range(300):
        actions = [*transcript("tea", seeded_generator(i, ("tea",))), "end"]
        after = actions[max(actions.index("add_teabag"), actions.index("pour_water")) + 1]
        followers["fetch_sugar" in actions][after] += 1
    assert set(followers[True]) == {"pour_milk", "add_sugar"}
    assert set(followers[False]) == {"pour_milk", "end"}
    assert min(min(counter.values()) for counter in followers.values()) > 20


@pytest.mark.parametrize("activity", RECIPES)
def test_transcripts_vary_and_obey_their_needs(activity):
    transcripts = [transcript(activity, seeded_generator(i, (activity,))) for i in range(100)]
    assert len({tuple(actions) for actions in transcripts}) >= 3
    for actions in transcripts:
        for step in RECIPES[activity]:
            if step.needs and step.needs not in actions:
                others = {a for other in RECIPES[activity] if other != step for a in other.actions}
                assert not (set(step.actions) - others) & set(actions)


def test_the_seed_decides_everything(release):
    again, other = invent(144), invent(144, seed=1)
    for first, second in zip(release.videos, again.videos, strict=True):
        np.testing.assert_array_equal(first.labels, second.labels)
    lengths = [[len(video.labels) for video in r.videos] for r in (release, other)]
    assert lengths[0] != lengths[1]


@pytest.mark.parametrize("num_videos", [4, 7, 24, 50])
def test_any_number_of_videos_fills_both_parts_of_every_split(num_videos):
    release = invent(num_videos)
    assert len(release.videos) == num_videos
    for parts in release.splits.values():
        assert len(parts["train"]) > 0
        assert len(parts["test"]) > 0


def test_too_few_videos_are_refused():
    with pytest.raises(ConfigError, match="--videos 3 leaves a split empty; use at least 4"):
        invent(3)
