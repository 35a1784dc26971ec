import json

import pytest

from anticipate.cli import main
from anticipate.datasets.file.short_term_file import ShortTermStore


def words(source, output, *options):
    where = ("--source", str(source), "--output", str(output))
    return ["prepare", "egtea", *where, "--feature-dim", "8", *options]


def test_three_splits_that_share_videos_are_read(egtea, tmp_path, capsys):
    main(words(egtea, tmp_path / "file.h5", "--synthesize-features"))
    store = ShortTermStore(tmp_path / "file.h5")
    assert store.classes == ("Inspect/Read recipe", "Take eating_utensil")
    assert store.taxonomy.verbs == (0, 2)
    assert store.taxonomy.nouns == (1, 0)
    assert (len(store.verbs), len(store.nouns)) == (19, 51)
    assert (store.verbs[0], store.nouns[0]) == ("Inspect/Read", "eating_utensil")
    for k in range(3):
        others = [str(i) for i in range(3) if i != k]
        assert list(store.rows(k + 1, "train").segment_ids) == others
        assert store.rows(k + 1, "validation").segment_ids == (str(k),)
    assert store.participant("OP02-R01-PastaSalad") == "OP02"
    capsys.readouterr()
    main(["inspect", str(tmp_path / "file.h5"), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["splits"] == {k: {"train": 2, "validation": 1} for k in "123"}


def test_one_split_can_be_taken_alone(egtea, tmp_path, capsys):
    (egtea / "training1.csv").unlink()
    main(words(egtea, tmp_path / "file.h5", "--synthesize-features", "--split", "2"))
    assert ShortTermStore(tmp_path / "file.h5").num_rows == {"2": {"train": 2, "validation": 1}}
    main(["inspect", str(tmp_path / "file.h5")])
    assert "split 2" in capsys.readouterr().out


def test_one_set_of_features_for_three_splits_is_warned_of(egtea, write_frames, tmp_path, capsys):
    videos = {f"OP0{i}-R01-PastaSalad": range(1, 1000, 5) for i in (1, 2, 3)}
    write_frames(tmp_path / "rgb", videos)
    main(words(egtea, tmp_path / "all.h5", "--features", str(tmp_path / "rgb")))
    assert "it has seen test segments of the others: use --split" in capsys.readouterr().err
    main(words(egtea, tmp_path / "one.h5", "--features", str(tmp_path / "rgb"), "--split", "1"))
    assert "--split" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("actions.csv", "1, 2_0", "2, 2_0", "actions.csv:2: found id 2, expected 1"),
        ("actions.csv", "1, 2_0,", "1,", "actions.csv:2: found 2 columns, expected 3"),
        ("training1.csv", ",0,1,0\n", ",0,51,0\n", "found verb 0 and noun 51, expected them below"),
        ("training1.csv", ",0,1,0\n", ",0,1,2\n", "action 2 is not in actions.csv, whose ids end"),
        ("training2.csv", ",2,0,1\n", ",2,1,1\n", "noun 1, but in actions.csv it has verb 2 and n"),
    ],
)
def test_what_does_not_fit_is_named(egtea, tmp_path, capsys, file, old, new, message):
    path = egtea / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(SystemExit) as exit_:
        main(words(egtea, tmp_path / "file.h5", "--synthesize-features"))
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [egtea]


def test_an_action_without_segments_is_named(egtea, tmp_path, capsys):
    with (egtea / "actions.csv").open("a") as file:
        file.write("2, 3_4, Cut_tomato\n")
    with pytest.raises(SystemExit):
        main(words(egtea, tmp_path / "file.h5", "--synthesize-features"))
    assert "action 2 (Cut_tomato) has no segment that names its" in capsys.readouterr().err


def test_an_id_names_one_segment_in_all_splits(egtea, tmp_path, capsys):
    path = egtea / "training2.csv"
    lines = path.read_text().splitlines()
    first = lines[0].split(",")
    first[3] = str(int(first[3]) + 1)
    path.write_text("\n".join([",".join(first), *lines[1:]]))
    with pytest.raises(SystemExit):
        main(words(egtea, tmp_path / "file.h5", "--synthesize-features"))
    assert "is in two places with different content" in capsys.readouterr().err
