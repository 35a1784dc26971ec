import signal

import numpy as np
import pytest

from anticipate.cli import main
from anticipate.datasets.file.short_term_file import ShortTermStore, ShortTermWriter
from anticipate.datasets.synthetic_actions import (
    COOKS,
    NOUNS,
    ORDERS,
    PAIRS,
    UNSEEN,
    VERBS,
    invent,
    tail_classes,
    transcript,
)
from anticipate.errors import ConfigError

COMMAND = ("prepare", "synthetic_actions", "--videos", "20", "--segments", "8")


@pytest.fixture(scope="module")
def release():
    return invent()


def cooks(table):
    return {video[:3] for video in table.video_ids}


def test_sizes_are_those_of_a_small_data_set(release):
    sizes = {part: table.num_rows for part, table in release.splits["1"].items()}
    assert 2500 < sizes["train"] < 3500
    assert 500 < sizes["validation"] < 900
    assert 50 < sizes["test"] < 200
    assert (len(release.videos), len(PAIRS), len(VERBS), len(NOUNS)) == (60, 44, 8, 12)


def test_two_cooks_are_not_in_training(release):
    parts = release.splits["1"]
    assert cooks(parts["train"]) == set(COOKS) - set(UNSEEN)
    assert set(UNSEEN) < cooks(parts["validation"])
    unseen = {segment[:3] for segment in release.subsets["unseen"]}
    assert unseen == set(UNSEEN)


def test_things_are_handled_in_their_order():
    order_of = {noun: verbs for nouns, verbs in ORDERS.items() for noun in nouns}
    done = {}
    for verb, noun in transcript(500, np.random.default_rng(0)):
        expected = order_of[noun][done.get(noun, 0) % len(order_of[noun])]
        assert verb == expected
        done[noun] = done.get(noun, 0) + 1


def test_what_comes_next_is_told_by_more_than_the_last_action():
    """The most frequent successor of the last two actions is right more often than of the last."""
    words = [" ".join(word) for word in transcript(20_000, np.random.default_rng(0))]

    def hits(length):
        counts = {}
        for i in range(length, len(words)):
            followers = counts.setdefault(tuple(words[i - length : i]), {})
            followers[words[i]] = followers.get(words[i], 0) + 1
        return sum(max(followers.values()) for followers in counts.values()) / len(words)

    assert hits(2) > 1.4 * hits(1)


def test_tail_classes_are_rare_and_tail_actions_have_one(release):
    parts = release.splits["1"]
    validation = parts["validation"]
    tail = {name: set(ids) for name, ids in release.subsets.items()}
    assert tail["tail_action"] == tail["tail_verb"] | tail["tail_noun"]
    rare = tail_classes(parts["train"].nouns, len(NOUNS))
    counts = np.bincount(parts["train"].nouns, minlength=len(NOUNS))
    assert 0 < counts[rare].sum() <= 0.2 * counts.sum()
    assert counts[rare].max() <= np.delete(counts, rare).min()
    expected = {
        segment
        for segment, noun in zip(validation.segment_ids, validation.nouns.tolist(), strict=True)
        if noun in rare
    }
    assert tail["tail_noun"] == expected


def test_segments_are_in_order_and_a_few_overlap(release):
    train = release.splits["1"]["train"]
    lengths = train.stops - train.starts + 1
    assert lengths.min() >= 30
    assert lengths.max() <= 180
    rows = train.by_video().values()
    assert all((np.diff(train.starts[own]) > 0).all() for own in rows)
    overlaps = np.concatenate([train.starts[own][1:] <= train.stops[own][:-1] for own in rows])
    assert 0.05 < overlaps.mean() < 0.2


def test_the_seed_decides_everything():
    assert str(invent(20, 5)) == str(invent(20, 5))
    assert str(invent(20, 5)) != str(invent(20, 5, seed=1))


def test_too_few_videos_are_refused():
    with pytest.raises(ConfigError, match="--videos 19 leaves a part empty; use at least 20"):
        invent(19)


def test_ctrl_c_keeps_what_is_written_and_the_same_command_continues(tmp_path, capsys, monkeypatch):
    add_video = ShortTermWriter.add_video

    def interrupted(writer, video, blocks):
        add_video(writer, video, blocks)
        if video.video_id == "P02_001":
            signal.raise_signal(signal.SIGINT)

    whole, path = tmp_path / "whole.h5", tmp_path / "file.h5"
    with monkeypatch.context() as patch:
        patch.setattr(ShortTermWriter, "add_video", interrupted)
        with pytest.raises(SystemExit) as exit_:
            main([*COMMAND, "--output", str(path)])
    assert exit_.value.code == 130
    assert [file.name for file in tmp_path.iterdir()] == ["file.h5.partial"]
    main([*COMMAND, "--output", str(path)])
    assert "continuing after" in capsys.readouterr().err
    main([*COMMAND, "--output", str(whole)])
    first, second = ShortTermStore(path), ShortTermStore(whole)
    assert first.verify() == second.verify() == []
    for video in second.video_ids:
        frames = np.arange(1, second.num_frames(video) + 1, 5)
        np.testing.assert_array_equal(
            first.features_at(video, frames), second.features_at(video, frames)
        )
    assert str(first.rows(1, "train")) == str(second.rows(1, "train"))


def test_an_existing_file_is_kept(tmp_path, capsys):
    path = tmp_path / "file.h5"
    path.write_text("mine")
    with pytest.raises(SystemExit):
        main([*COMMAND, "--output", str(path)])
    assert "exists already; replace it with --force" in capsys.readouterr().err
    assert path.read_text() == "mine"
