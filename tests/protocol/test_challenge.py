"""`anticipate export`: what is written passes the rules, and every broken rule has its line."""

import doctest
import json
import zipfile

import numpy as np
import pytest

from anticipate.cli import main
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.protocol import challenge
from anticipate.protocol.challenge import check_archive, significant, wanted_segments
from anticipate.protocol.short_term_predictions import ShortTermPredictionsWriter

LEVELS = ("--sls-pt", "1", "--sls-tl", "4", "--sls-td", "3")
LOGITS = np.random.default_rng(0).normal(size=(8, 120)).astype(np.float32)


def predict(path, data, rows=slice(None), extra=()):
    with ShortTermStore(data) as store:
        ids = store.rows(1, "test").segment_ids
    with ShortTermPredictionsWriter(path, 120) as out:
        out.add(ids[rows], LOGITS[rows])
        out.add(extra, np.zeros((len(extra), 120), np.float32))
    return path


def export(folder, data, *options, rows=slice(None)):
    predictions = predict(folder / "p.h5", data, rows)
    output = folder / "out.zip"
    argv = ["export", "challenge", predictions, "--data", data, "--output", output, *options]
    main(list(map(str, argv)))
    return output


def read(archive):
    with zipfile.ZipFile(archive) as file:
        return {name: json.loads(file.read(name)) for name in file.namelist()}


def rewrite(archive, documents):
    with zipfile.ZipFile(archive, "w") as file:
        for name, document in documents.items():
            file.writestr(name, document if isinstance(document, str) else json.dumps(document))
    return archive


def failure(capsys, *argv):
    """Return what a mistake leaves on stderr."""
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, argv)))
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_the_example_of_the_docstring_holds():
    assert doctest.testmod(challenge).failed == 0


@pytest.mark.parametrize("exponent", [-320, -300, -30, -3, 0, 5, 30, 300])
def test_rounding_keeps_seven_digits_of_any_size(exponent):
    values = np.array([1.23456789, -9.99999999, 0.0]) * 10.0**exponent
    np.testing.assert_allclose(significant(values), values, rtol=1e-6, atol=1e-300)
    assert len(json.dumps(significant(np.array([1 / 3]))[0])) == len("0.3333333")


def test_ek100_document_holds_marginals_and_the_hundred_best_actions(tmp_path, short_term_file):
    data = short_term_file("ek100")
    archive = export(tmp_path, data, *LEVELS)
    with ShortTermStore(data) as store:
        ids, taxonomy = store.rows(1, "test").segment_ids, store.taxonomy
    documents = read(archive)
    assert list(documents) == ["test.json"]
    document = documents["test.json"]
    results = document.pop("results")
    assert document == {
        "version": "0.2",
        "challenge": "action_anticipation",
        "sls_pt": 1,
        "sls_tl": 4,
        "sls_td": 3,
    }
    assert tuple(results) == ids
    probs = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    for row, segment in enumerate(results.values()):
        for task, classes, size in (
            ("verb", np.array(taxonomy.verbs), 97),
            ("noun", np.array(taxonomy.nouns), 300),
        ):
            assert list(segment[task]) == [str(number) for number in range(size)]
            expected = [probs[row][classes == number].sum() for number in range(size)]
            np.testing.assert_allclose(list(segment[task].values()), expected, rtol=1e-5)
        best = np.argsort(-LOGITS[row])[:100]
        keys = [f"{taxonomy.verbs[action]},{taxonomy.nouns[action]}" for action in best]
        assert list(segment["action"]) == keys
        np.testing.assert_allclose(list(segment["action"].values()), LOGITS[row, best], rtol=1e-6)


def test_ek55_writes_seen_and_unseen_kitchens_without_levels(tmp_path, short_term_file):
    data = short_term_file("ek55")
    documents = read(export(tmp_path, data))
    assert list(documents) == ["seen.json", "unseen.json"]
    assert [len(document["results"]) for document in documents.values()] == [5, 3]
    for document in documents.values():
        assert document.keys() == {"version", "challenge", "results"}
        assert document["version"] == "0.1"


@pytest.mark.parametrize(("dataset", "levels"), [("ek100", LEVELS), ("ek55", ())])
def test_what_is_written_passes_the_rules(tmp_path, short_term_file, capsys, dataset, levels):
    data = short_term_file(dataset)
    archive = export(tmp_path, data, *levels)
    main(["export", "check", str(archive), "--data", str(data)])
    assert "ready, 8 segments" in capsys.readouterr().err
    main(["export", "check", str(archive)])
    assert "without --data the segment ids are not checked" in capsys.readouterr().err


def test_missing_rows_are_an_error_and_leave_nothing_or_become_zeros(
    tmp_path, short_term_file, capsys
):
    data = short_term_file("ek100")
    output = tmp_path / "out.zip"
    predictions = predict(tmp_path / "p.h5", data, slice(0, 6))
    argv = ["export", "challenge", predictions, "--data", data, "--output", output, *LEVELS]
    assert "2 of 8 rows have no predictions: t_6, t_7" in failure(capsys, *argv)
    assert [path.name for path in tmp_path.iterdir()] == ["p.h5"]
    main([*map(str, argv), "--missing", "zero"])
    segment = read(output)["test.json"]["results"]["t_7"]
    assert set(segment["action"].values()) == {0.0}
    assert sum(segment["verb"].values()) == pytest.approx(1)
    with ShortTermStore(data) as store:
        assert check_archive(output, wanted_segments(store)) == ([], 8)


def test_levels_must_be_given_where_the_challenge_has_them(tmp_path, short_term_file, capsys):
    output = ("--output", tmp_path / "out.zip")
    for dataset, levels, message in (
        ("ek100", LEVELS[:4], "the ek100 challenge needs each of --sls-pt, --sls-tl, --sls-td"),
        ("ek55", LEVELS, "the ek55 challenge needs none of --sls-pt"),
        ("egtea", (), "egtea has no challenge; ek100, ek55 have one"),
    ):
        data = short_term_file(dataset)
        predictions = predict(tmp_path / "p.h5", data)
        argv = ("export", "challenge", predictions, "--data", data, *output, *levels)
        assert message in failure(capsys, *argv)
    argv = ("export", "challenge", "p.h5", "--data", "d.h5", *output, "--sls-pt", "6")
    assert "--sls-pt: invalid choice: 6" in failure(capsys, *argv)


def test_predictions_of_another_release_and_bad_places_are_errors(
    tmp_path, short_term_file, capsys
):
    data = short_term_file("ek100")
    unknown = predict(tmp_path / "p.h5", data, extra=("nobody",))
    argv = ("export", "challenge", unknown, "--data", data, *LEVELS, "--output")
    assert "1 rows are not in" in failure(capsys, *argv, tmp_path / "out.zip")
    good = predict(tmp_path / "p.h5", data)
    argv = ("export", "challenge", good, "--data", data, *LEVELS, "--output")
    assert "cannot be written" in failure(capsys, *argv, tmp_path / "no" / "out.zip")


@pytest.fixture
def whole(tmp_path, short_term_file):
    """A correct archive, its document and the data file."""
    data = short_term_file("ek100")
    archive = export(tmp_path, data, *LEVELS)
    return archive, read(archive)["test.json"], data


def without(mapping, *keys):
    return {key: value for key, value in mapping.items() if key not in keys}


BROKEN = {
    "'version' is '0.1', expected '0.2'": lambda d: {**d, "version": "0.1"},
    "'challenge' is None, expected 'action_anticipation'": lambda d: without(d, "challenge"),
    "'sls_pt' is None, expected an integer from 0 to 5": lambda d: without(d, "sls_pt"),
    "'sls_tl' is 6,": lambda d: {**d, "sls_tl": 6},
    "'sls_td' is True,": lambda d: {**d, "sls_td": True},
    "no 'results' by segment id": lambda d: {**d, "results": {}},
}


@pytest.mark.parametrize("message", BROKEN)
def test_each_rule_of_the_head_has_its_line(whole, capsys, message):
    archive, document, data = whole
    rewrite(archive, {"test.json": BROKEN[message](document)})
    err = failure(capsys, "export", "check", archive, "--data", data)
    assert f"test.json: {message}" in err
    assert err.splitlines()[-1] == f"anticipate: {archive}: breaks 1 rules of the challenge"


def changed(task, change):
    return lambda segment: {**segment, task: change(segment[task])}


SEGMENT_RULES = {
    "without 'verb'": lambda segment: without(segment, "verb"),
    "without 'action'": lambda segment: without(segment, "action"),
    "whose 'verb' has not exactly the classes 0 to 96": changed("verb", lambda v: without(v, "3")),
    "whose 'noun' has not exactly the classes 0 to 299": changed("noun", lambda n: n | {"300": 0}),
    "whose 'verb' has scores that are not finite numbers": changed(
        "verb", lambda v: v | {"3": "1"}
    ),
    "whose 'noun' has scores that are not finite numbers": changed(
        "noun", lambda n: n | {"3": float("nan")}
    ),
    "whose 'action' has not exactly 100 entries": changed("action", lambda a: a | {"96,0": 0.5}),
    "whose 'action' has keys that are not a known 'verb,noun'": changed(
        "action", lambda a: without(a, next(iter(a))) | {"97,0": 0.5}
    ),
}


@pytest.mark.parametrize("message", SEGMENT_RULES)
def test_each_rule_of_a_segment_has_its_line_with_the_segments(whole, capsys, message):
    archive, document, data = whole
    results = document["results"]
    broken = {name: SEGMENT_RULES[message](results[name]) for name in ("t_2", "t_5")}
    rewrite(archive, {"test.json": {**document, "results": results | broken}})
    err = failure(capsys, "export", "check", archive, "--data", data).splitlines()
    assert err == [
        f"test.json: 2 segments {message}: t_2, t_5",
        f"anticipate: {archive}: breaks 1 rules of the challenge",
    ]


def test_action_scores_may_be_left_to_the_evaluator(whole):
    archive, document, _ = whole
    results = {name: without(segment, "action") for name, segment in document["results"].items()}
    rewrite(archive, {"test.json": {**document, "results": results}})
    assert check_archive(archive).violations == []


def test_missing_and_unknown_segments_need_the_data_file(whole, capsys):
    archive, document, data = whole
    results = document["results"]
    results["nobody"] = results.pop("t_3")
    rewrite(archive, {"test.json": document})
    assert check_archive(archive).violations == []
    err = failure(capsys, "export", "check", archive, "--data", data)
    assert "1 of 8 segments are missing: t_3" in err
    assert "1 segments are not in the test part: nobody" in err
    assert "breaks 2 rules" in err


@pytest.mark.parametrize("content", ["{", "[]", '{"version": "0.2"'])
def test_a_document_that_is_no_json_object(whole, capsys, content):
    archive = rewrite(whole[0], {"test.json": content})
    assert "test.json: no JSON" in failure(capsys, "export", "check", archive)


def test_other_archives_are_refused(whole, tmp_path, short_term_file, capsys):
    archive, document, _ = whole
    for documents in ({"sub/test.json": document}, {"test.json": document, "more.txt": "x"}, {}):
        rewrite(archive, documents)
        assert "expected test.json for ek100 or" in failure(capsys, "export", "check", archive)
    rewrite(archive, {"test.json": document})
    argv = ("export", "check", archive, "--data", short_term_file("ek55"))
    assert "holds test.json, expected" in failure(capsys, *argv)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("test.json", json.dumps(document) + " " * (1 << 23))
    argv = ("export", "check", archive, "--data", short_term_file("ek100"))
    assert "test.json: has 8," in failure(capsys, *argv)
    archive.write_text("no archive")
    assert "not a zip archive" in failure(capsys, "export", "check", archive)
    assert "not a zip archive" in failure(capsys, "export", "check", tmp_path / "no.zip")
