import functools
import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from anticipate.cli import main
from anticipate.datasets.batches.buckets import Draw
from anticipate.datasets.batches.clips import (
    ShortTermDataset,
    StepGrid,
    clip_frames,
    frame_labels,
    has_past,
)
from anticipate.datasets.batches.ticks import TickDataset, TickWindows
from anticipate.datasets.epic_kitchens import EpicKitchens55, EpicKitchens100
from anticipate.datasets.file.segment_table import UNKNOWN
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.datasets.release.releases import LabelledVideo, segments_by_video
from anticipate.datasets.release.synthesis import SegmentFeatures, SyntheticFeatures
from anticipate.errors import DataError

DATA_SETS = {"ek100": EpicKitchens100, "ek55": EpicKitchens55}


def prepare(dataset, source, output, *options):
    synthesis = ("--synthesize-features", "--feature-dim", "8")
    where = ("--source", str(source), "--output", str(output))
    main(["prepare", dataset, *where, *synthesis, *options])
    return ShortTermStore(output)


def refused(capsys, *words):
    with pytest.raises(SystemExit) as exit_:
        main(list(words))
    assert exit_.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("anticipate: ")
    return error


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_everything_of_ek100_is_read(ek100, tmp_path):
    store = prepare("ek100", ek100, tmp_path / "file.h5")
    assert store.num_rows == {"1": {"train": 2, "validation": 2, "test": 1}}
    assert store.classes == ("take tap", "open bin:lid", "turn-on light")
    assert (len(store.verbs), len(store.nouns)) == (97, 300)
    assert (store.verbs[96], store.verbs[5], store.nouns[7]) == ("turn-on", "verb 5", "light")
    assert store.taxonomy.nouns == (299, 3, 7)
    train = store.rows(1, "train")
    assert train.segment_ids == ("P01_01_0", "P01_01_1")
    assert [column.tolist() for column in train.numbers] == [
        *([4, 131], [101, 185], [3, 0], [3, 299], [1, 0])
    ]
    assert store.rows(1, "test").actions.tolist() == [UNKNOWN]
    assert store.subsets == {
        "unseen": {"P02_01_0", "P02_01_1"},
        "tail_verb": {"P02_01_1"},
        "tail_noun": {"P02_01_0"},
        "tail_action": {"P02_01_0", "P02_01_1"},
    }
    assert store.class_subsets == {}
    assert [store.num_frames(video) for video in store.video_ids] == [215, 290, 146]
    assert [store.participant(video) for video in store.video_ids] == ["P01", "P02", "P03"]
    assert store.synthetic is True


def test_the_quirks_of_ek55_are_read(ek55, tmp_path):
    store = prepare("ek55", ek55, tmp_path / "file.h5")
    assert store.classes == ("take pan", "grab pan", "take fridge", "wash tap:hot")
    assert (store.verbs[0], store.verbs[4], store.nouns[3]) == ("take", "wash", "tap:hot")
    assert (len(store.verbs), len(store.nouns)) == (125, 352)
    assert store.rows(1, "train").segment_ids == ("330", "331")
    assert store.rows(1, "train").nouns.tolist() == [10, 3]
    assert store.rows(1, "validation").segment_ids == ("0",)
    assert store.rows(1, "test").segment_ids == ("1924", "15582")
    assert store.subsets == {"test_seen": {"1924"}, "test_unseen": {"15582"}}
    assert store.class_subsets == {
        "many_shot_verb": {4},
        "many_shot_noun": {10},
        "many_shot_action": {2, 3},
    }


def test_inspect_counts_rows_and_label_spaces(ek100, tmp_path, capsys):
    prepare("ek100", ek100, tmp_path / "file.h5", "--fps", "7.5", "--dtype", "float16")
    capsys.readouterr()
    main(["inspect", str(tmp_path / "file.h5"), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["splits"] == {"train": 2, "validation": 2, "test": 1}
    labels = [document[name] for name in ("num_actions", "num_verbs", "num_nouns", "num_classes")]
    assert labels == [3, 97, 300, 3]
    assert (document["fps"], document["feature_fps"], document["dtype"]) == (30, 7.5, "float16")
    assert "stride" not in document


def test_the_table_counts_segments(ek100, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    prepare("ek100", ek100, tmp_path / "file.h5")
    main(["inspect", str(tmp_path / "file.h5"), "--verify"])
    table = capsys.readouterr().out
    assert "2 train, 2 validation, 1 test" in table
    assert "3 actions of 97 verbs and 300 nouns" in table
    assert "8 synthetic features, made from the labels; float32, 4 per second" in table


def test_other_counts_are_told_and_noted(ek100, tmp_path, capsys):
    store = prepare("ek100", ek100, tmp_path / "file.h5")
    told = "3 actions (published: 3,806), 2 train (published: 67,217)"
    assert f"ek100: {told}" in capsys.readouterr().err
    assert store.notes["counts_differ"].startswith(told)


def test_the_reduced_copy_is_named(ek100, capsys, monkeypatch):
    (name,) = EpicKitchens100.reduced_copies
    monkeypatch.setattr(EpicKitchens100, "reduced_copies", {name: {"train": 2, "validation": 2}})
    release = EpicKitchens100.read_annotation(ek100)
    assert "this is the copy of video-mamba-suite" in capsys.readouterr().err
    assert "which lacks 34 videos shorter than 30 s" in release.notes["counts_differ"]


def test_features_follow_the_segments_that_started_last(ek100, tmp_path):
    """Without noise and participant a row is the prototype of its class or of the background."""
    replace(ek100 / "training.csv", "131,185", "90,120")
    release = EpicKitchens100.read_annotation(ek100)
    source = SegmentFeatures(release, 40, Fraction(30), noise=0.0)
    video = release.videos[0]
    rows = np.concatenate(list(source.rows(video)))
    labels = [3] * 3 + [1] * 86 + [0] * 31 + [3] * 30
    assert len(rows) == video.num_frames == 150
    shown = SyntheticFeatures(4, 40, 30.0, 1, noise=0.0)
    expected = next(shown.rows(LabelledVideo("P01_01", np.array(labels, np.int16), "P01", 150)))
    np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("training.csv", ",3,3,1", ",3,3", r"training.csv:1: found 6 columns, expected 7: id, vid"),
        (
            "training.csv",
            ",3,3,1",
            ",3,3,3806",
            "csv:1: action 3806 is not in actions.csv, whose ids end at 2",
        ),
        ("training.csv", ",3,3,1", ",3,4,1", "noun 4, but in actions.csv it has verb 3 and noun 3"),
        ("training.csv", ",4,101", ",x,101", "training.csv:1: expected an integer, found 'x'"),
        (
            "training.csv",
            ",4,101",
            ",0,101",
            "training.csv:1: a segment from frame 0 on; frames count from 1",
        ),
        (
            "validation.csv",
            "40,90",
            "90,40",
            "validation.csv:1: a segment ends at frame 40, before its start 90",
        ),
        (
            "training.csv",
            "P01_01_1,",
            "P01_01_0,",
            "training.csv:2: 'P01_01_0' is already on line 1",
        ),
        (
            "validation.csv",
            "P02_01_0,",
            "P01_01_0,",
            "segment 'P01_01_0' is in train and in validation",
        ),
        (
            "actions.csv",
            "id,verb,noun,action",
            "id,verb,action,noune",
            "actions.csv:1: no column 'noun', found id, verb, action, noune",
        ),
        ("actions.csv", "1,3,3,", "2,3,3,", "actions.csv:3: found id 2, expected 1"),
        (
            "actions.csv",
            "2,96,7",
            "2,97,7",
            "found verb 97 and noun 7, expected them below 97 and 300",
        ),
        (
            "validation_tail_verbs_ids.csv",
            "P02_01_1",
            "P09_01_1",
            "ids.csv:1: 'P09_01_1' is not a segment of validation.csv",
        ),
        (
            "test_timestamps.csv",
            "85,116",
            "85",
            "test_timestamps.csv:1: found 3 columns, expected 4",
        ),
    ],
)
def test_what_does_not_fit_is_named(ek100, tmp_path, capsys, file, old, new, message):
    replace(ek100 / file, old, new)
    output = tmp_path / "out.h5"
    words = ("prepare", "ek100", "--source", str(ek100), "--output", str(output))
    assert message in refused(capsys, *words, "--synthesize-features")
    assert list(tmp_path.iterdir()) == [ek100]


@pytest.mark.parametrize("file", ["actions.csv", "validation.csv", "validation_tail_nouns_ids.csv"])
def test_a_missing_file_is_named(ek100, tmp_path, capsys, file):
    (ek100 / file).unlink()
    words = ("prepare", "ek100", "--source", str(ek100), "--output", str(tmp_path / "out.h5"))
    assert f"{file}: cannot read" in refused(capsys, *words, "--synthesize-features")


def test_a_many_shot_class_outside_its_space_is_named(ek55, tmp_path, capsys):
    replace(ek55 / "EPIC_many_shot_verbs.csv", "4,wash", "125,wash")
    words = ("prepare", "ek55", "--source", str(ek55), "--output", str(tmp_path / "out.h5"))
    error = refused(capsys, *words, "--synthesize-features")
    assert "EPIC_many_shot_verbs.csv:2: verb 125 is outside 0 to 124" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--synthesize-features", "--fps", "31"],
            "--fps: expected 1/60 to 30 rows per second, not 31",
        ),
        (
            ["--synthesize-features", "--fps", "0"],
            "--fps: expected 1/60 to 30 rows per second, not 0",
        ),
        (["--synthesize-features", "--stride", "2"], "unrecognized arguments: --stride"),
        ([], "one of the arguments --features --synthesize-features is required"),
        (["--features", "nope"], "--features: no such folder: nope"),
    ],
)
def test_options_that_cannot_be_used_are_named(ek100, tmp_path, capsys, options, message):
    words = ("prepare", "ek100", "--source", str(ek100), "--output", str(tmp_path / "out.h5"))
    assert message in refused(capsys, *words, *options)


@pytest.fixture(scope="module")
def real_release():
    """A function that reads a real release, once."""
    folder = os.environ.get("ANTICIPATE_LABELS")
    if folder is None:
        pytest.skip("ANTICIPATE_LABELS names no folder of real labels")
    return functools.cache(
        lambda dataset: DATA_SETS[dataset].read_annotation(Path(folder) / dataset)
    )


@pytest.mark.slow
@pytest.mark.labels
@pytest.mark.parametrize("dataset", ["ek100", "ek55"])
def test_real_labels_have_the_published_counts(real_release, dataset):
    release = real_release(dataset)
    assert release.notes == {}
    assert DATA_SETS[dataset].num_actions == len(release.vocabulary.actions)
    videos = {part: len(set(table.video_ids)) for part, table in release.splits["1"].items()}
    expected = {"ek100": {"train": 495, "validation": 138, "test": 67}}
    assert videos == expected.get(dataset, videos | {"train": 232, "validation": 40})


@pytest.mark.labels
def test_tail_actions_have_a_tail_verb_or_noun(real_release):
    release = real_release("ek100")
    subsets = {name: set(ids) for name, ids in release.subsets.items()}
    assert {name: len(ids) for name, ids in subsets.items()} == {
        **{"unseen": 1065, "tail_verb": 1760, "tail_noun": 1900, "tail_action": 3105}
    }
    assert subsets["tail_action"] == subsets["tail_verb"] | subsets["tail_noun"]


@pytest.mark.labels
def test_many_shot_actions_are_as_many_as_published(real_release):
    release = real_release("ek55")
    counts = {name: len(classes) for name, classes in release.class_subsets.items()}
    assert counts == {"many_shot_verb": 26, "many_shot_noun": 71, "many_shot_action": 2265}


@pytest.mark.labels
def test_ek100_drops_and_pads_the_published_numbers_of_clips(real_release):
    """103 training and 30 validation rows dropped, 4,691 and 1,133 clamped, by AGA's own rules."""
    parts = real_release("ek100").splits["1"]
    lead = StepGrid(30, 1.0, 1.0).lead_frames(30)
    for part, dropped, clamped in (("train", 103, 4691), ("validation", 30, 1133)):
        starts = parts[part].starts
        past = has_past(starts, lead)
        moved = (clip_frames(starts, lead) != starts[:, None] - lead).any(axis=1)
        assert int((~past).sum()) == dropped
        assert int((moved & past).sum()) == clamped


# Counted with the public code of RULSTM, whose frame of 1 s before some segments lies later.
@pytest.mark.labels
def test_clips_of_rulstm_on_ek100_are_those_of_its_code_without_its_leak(real_release):
    scored, parts = StepGrid(11, 0.25, 1.0), real_release("ek100").splits["1"]
    whole, strict = scored.until(0.25).lead_frames(30), scored.lead_frames(30)
    for part, dropped, leaks in (("train", 35, 68), ("validation", 10, 20)):
        starts = parts[part].starts
        kept, late = has_past(starts, whole), clip_frames(starts, whole)[:, 10] > starts - 30
        assert (int((~kept).sum()), int((kept & late).sum())) == (dropped, leaks)
        assert (clip_frames(starts, strict)[:, -1] <= (starts - 30).clip(0)).all()


class ReadFrames(ShortTermStore):
    """Features are the numbers of their own frames: what is read can be read off."""

    fps = 30

    def __init__(self):
        """Open no file."""

    def features_at(self, video_id, frames):
        return frames[:, None].astype(np.float32)


@pytest.mark.labels
def test_no_scored_row_of_ek100_shows_a_frame_of_the_second_before_its_segment(real_release):
    rows, lead = real_release("ek100").splits["1"]["validation"], np.array([30])
    chosen = np.flatnonzero(has_past(rows.starts, lead))
    assert len(chosen) == 9638
    limit, store = rows.starts[chosen] - 30, ReadFrames()
    for grid in (StepGrid(30, 1.0, 1.0), StepGrid(10, 1.0, 1.0), StepGrid(11, 0.25, 1.0)):
        frames = ShortTermDataset(store, rows, chosen, grid).frames  # AGA, AVT, RULSTM
        np.testing.assert_array_equal(frames.max(axis=1), limit)
    windows = TickDataset(store, rows, chosen, TickWindows(long_steps=64), 1.0, 3806)
    ends = [windows.windows.scored(start, 30, 1.0)[0] for start in windows.rows.starts.tolist()]
    assert sum(end < 20 for end in ends) == 248  # these repeat tick 0
    shown = np.array([windows[Draw(item, 0)].features for item in range(len(windows))])[..., 0]
    assert (shown.max(axis=1) <= limit).all()
    assert (shown.max(axis=1) == shown[:, -1]).all()
    assert (rows.starts[chosen] - shown[:, -1]).mean() / 30 == pytest.approx(1.59, abs=0.005)


@pytest.mark.labels
def test_a_twelfth_of_the_labelled_frames_of_ek100_overlap(real_release):
    """8.4 % of training and 8.3 % of validation frames are covered by more than one segment."""
    parts = real_release("ek100").splits["1"]
    for part, share in (("train", 0.084), ("validation", 0.083)):
        several = covered = 0
        for segments in segments_by_video({"1": {part: parts[part]}}).values():
            length = int(segments.stops.max())
            counts = np.zeros(length + 2, np.int64)
            np.add.at(counts, segments.starts, 1)
            np.add.at(counts, segments.stops + 1, -1)
            counts = counts.cumsum()[:-1]
            several += int((counts > 1).sum())
            covered += int((counts > 0).sum())
            labelled = frame_labels(segments, length) != UNKNOWN
            np.testing.assert_array_equal(labelled, counts > 0)
        assert several / covered == pytest.approx(share, abs=0.001)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("P01_01_0,", "a/b,", r"training.csv:1: the id of a segment is 'a/b'"),
        (",P01_01,4", ",../x,4", r"training.csv:1: the id of a video is '../x'"),
        ("4,101", "4,99999999999", r"training.csv:1: found 99999999999, expected a number of at"),
        ("P01_01_0,P01_01,4,101,3,3,1", "id,video,start,stop,verb,noun,action", "found a header"),
        ("4,101", "4,300101", r"'P01_01_0' of video 'P01_01' is frame 4 to 300101, more than two"),
        ("P01_01_0,", f"{'x' * 200_000},", r"training.csv: not comma-separated values \(field"),
    ],
)
def test_rows_that_cannot_be_meant_are_named(ek100, old, new, message):
    replace(ek100 / "training.csv", old, new)
    with pytest.raises(DataError, match=message):
        EpicKitchens100.read_annotation(ek100)


def test_a_byte_order_mark_is_no_part_of_the_first_id(ek100):
    path = ek100 / "training.csv"
    path.write_text("\ufeff" + path.read_text())
    release = EpicKitchens100.read_annotation(ek100)
    assert release.splits["1"]["train"].segment_ids[0] == "P01_01_0"


def test_control_characters_are_no_ends_of_lines(ek100):
    replace(ek100 / "training.csv", "P01_01_0,", "P01\x0b_01_0,")
    release = EpicKitchens100.read_annotation(ek100)
    assert release.splits["1"]["train"].segment_ids[0] == "P01\x0b_01_0"
