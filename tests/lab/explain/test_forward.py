"""Attention between actions is the network's own, and its comparison with the training part."""

import csv
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from anticipate.cli import main
from anticipate.datasets import SyntheticActions
from anticipate.datasets.file.segment_table import SegmentTable
from anticipate.errors import ConfigError
from anticipate.lab.explain import precedence as precedence_module
from anticipate.lab.explain import precedence as precedence_results
from anticipate.lab.explain.aga_run import action_ids, load_aga
from anticipate.lab.explain.explain_forward import default_candidates
from anticipate.lab.explain.precedence import (
    Precedence,
    action_keys,
    action_queries,
    bigram_counts,
    correlations,
    pooled_correlation,
    precedence,
    previous_given_next,
    rank_correlation,
    row_correlations,
    usual_predecessors,
)
from anticipate.nn import AGA

NUM_ACTIONS = 9
REDUCTIONS = ("mean_logits", "mean_probs")


def tiny(**settings_):
    torch.manual_seed(0)
    return AGA(NUM_ACTIONS, 6, hidden_dim=8, num_heads=2, **settings_).eval()


def table(videos, starts, actions):
    names = tuple(f"row_{number}" for number in range(len(videos)))
    columns = (np.array(column, np.int32) for column in (starts, starts, actions, actions, actions))
    return SegmentTable(names, tuple(videos), *columns)


def reference_shares(scores, reduction):
    """Softmax and mean over heads (first axis) of the logits of one query, in either order."""

    def softmax(values):
        weights = np.exp(values - values.max(axis=-1, keepdims=True))
        return weights / weights.sum(axis=-1, keepdims=True)

    return softmax(scores.mean(axis=0)) if reduction == "mean_logits" else softmax(scores).mean(0)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_shares_are_the_reduced_attention_of_one_hot_actions(reduction):
    network = tiny()
    expected, candidates = [4, 0], [1, 8, 4]
    shares = precedence(network, expected, candidates, reduction)
    one_hot = torch.eye(NUM_ACTIONS)
    with torch.inference_mode():
        scores = network.attention_scores(one_hot[expected], 10 * one_hot[candidates]).numpy()
    for row, of_query in zip(shares, scores, strict=True):
        np.testing.assert_allclose(row, reference_shares(of_query, reduction), rtol=1e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_rows_sum_to_one_and_chunks_do_not_show(monkeypatch, reduction):
    network, everything = tiny(), range(NUM_ACTIONS)
    whole = precedence(network, everything, everything, reduction)
    np.testing.assert_allclose(whole.sum(axis=1), 1.0, rtol=1e-5)
    monkeypatch.setattr(precedence_module, "MOST_SCORES", 40)  # two queries of 18 logits each
    np.testing.assert_allclose(precedence(network, everything, everything, reduction), whole)


def test_mean_probs_is_the_attention_of_a_past_that_was_certain():
    network = tiny(query="last", key_space="probs")
    past = torch.tensor([[2, 7, 5, 0]])
    with torch.inference_mode():
        attention = network.trace(torch.randn(1, 4, 6), past).attention[0, 3].mean(dim=0)
    shares = precedence(network, [5], [2, 7, 5], "mean_probs")[0]
    np.testing.assert_allclose(shares, attention[:3].numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "query_peak", "key_peak"),
    [
        ({}, 1.0, 10.0),
        ({"query_space": "logits", "key_space": "probs"}, 10.0, 1.0),
        ({"query_space": "logits", "hard_top1": True}, 1.0, 1.0),
    ],
)
def test_queries_and_keys_lie_in_the_space_of_the_network(options, query_peak, key_peak):
    network = tiny(**options)
    assert action_queries(network, [3])[0, 3] == pytest.approx(query_peak)
    assert action_keys(network, [3])[0].tolist() == pytest.approx(
        [0, 0, 0, key_peak, 0, 0, 0, 0, 0]
    )


def test_visual_attention_has_no_action_inputs():
    with pytest.raises(ConfigError, match="visual attention"):
        precedence(tiny(attention="visual"), [0], [1, 2])


def test_bigrams_follow_the_starts_within_each_video():
    segments = table(["a", "b", "a", "a", "b"], [50, 1, 1, 90, 9], [1, 0, 2, 1, 1])
    counts = bigram_counts(segments, 3)  # a: 2 1 1, b: 0 1
    assert counts.tolist() == [[0, 0, 0], [1, 1, 1], [0, 0, 0]]
    probs = previous_given_next(counts)
    assert probs[1].tolist() == pytest.approx([1 / 3] * 3)
    assert np.isnan(probs[[0, 2]]).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=20))
def test_bigrams_equal_pairs_counted_one_by_one(rows):
    videos, actions = [video for video, _ in rows], [action for _, action in rows]
    reference = np.zeros((4, 4), int)
    for video in "ab":
        own = [action for name, action in rows if name == video]
        for before, after in pairwise(own):
            reference[after, before] += 1
    assert (bigram_counts(table(videos, range(len(rows)), actions), 4) == reference).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=12))
def test_rank_correlation_is_spearmans(pairs):
    first, second = np.array(pairs, np.float64).T
    found = rank_correlation(first, second)
    if np.ptp(first) and np.ptp(second):
        assert found == pytest.approx(spearmanr(first, second).statistic)
    else:
        assert np.isnan(found)


def test_too_few_pairs_have_no_rank_correlation():
    assert np.isnan(rank_correlation(np.array([1.0, 2.0]), np.array([1.0, 2.0])))


def test_attention_in_the_order_of_the_counts_correlates_fully():
    counts = np.array([[0, 3, 1, 2], [0, 0, 0, 0], [4, 3, 2, 0], [1, 0, 0, 0]])
    attention = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True)
    rows = row_correlations(attention, counts, only_seen=False)
    assert rows[[0, 2, 3]].tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert np.isnan(rows[1])
    seen = row_correlations(attention, counts, only_seen=True)
    assert seen[[0, 2]].tolist() == pytest.approx([1.0, 1.0])
    assert np.isnan(seen[[1, 3]]).all()
    found = correlations(Precedence(tuple("abcd"), attention, counts))
    assert found["mean_over_actions"] == pytest.approx(1.0)
    assert (found["num_pairs_seen"], found["num_actions"]) == (7, 3)
    assert found["pairs_seen"] == pooled_correlation(attention, counts)


def test_default_candidates_are_the_usual_ones_then_those_attended_to():
    counts = np.zeros((12, 12), int)
    counts[3, [7, 1, 2]] = [5, 9, 5]
    attention = np.tile(np.linspace(0.01, 0.15, 12), (12, 1))
    found = Precedence(tuple("abcdefghijkl"), attention, counts)
    assert usual_predecessors(counts[3], 2) == [1, 2]
    assert default_candidates(found, 3) == [1, 2, 7, 11, 10, 9, 8, 6, 5, 4]


def test_a_misspelt_action_is_told_what_it_may_have_been():
    with pytest.raises(ConfigError, match="no action 'take pam' among 2: did you mean 'take pan'"):
        action_ids(["take pam"], ("take pan", "wash bowl"))
    with pytest.raises(ConfigError, match="no action 'xyz' among 2, such as 'take pan'"):
        action_ids(["xyz"], ("take pan", "wash bowl"))
    assert action_ids(["b", "a", "b"], ("a", "b")) == [1, 0]


@pytest.fixture(scope="module")
def written(tmp_path_factory, aga_checkpoint, actions_file):
    """What the command writes for the default action."""
    folder = tmp_path_factory.mktemp("forward")
    files = ["--ckpt", str(aga_checkpoint), "--data", str(actions_file)]
    main(["explain", "forward", *files, "--output", str(folder), "--reduce", "mean_probs"])
    return folder


@pytest.mark.slow
def test_the_command_writes_the_whole_matrix(written, aga_checkpoint, actions_file):
    header, *rows = csv.reader((written / "matrix.csv").open())
    run = load_aga(aga_checkpoint, actions_file)
    names = run.data.vocabulary
    assert header == ["expected", *names]
    assert tuple(row[0] for row in rows) == names
    everything = range(len(names))
    matrix = precedence(run.network, everything, everything, "mean_probs")
    np.testing.assert_allclose([[float(x) for x in row[1:]] for row in rows], matrix, rtol=1e-6)
    listed = list(csv.DictReader((written / "actions.csv").open()))
    assert [row["past_1"] for row in listed] == [names[best] for best in matrix.argmax(axis=1)]
    assert all((written / f"{name}.png").stat().st_size for name in ("bars", "matrix"))


@pytest.mark.slow
def test_the_command_asks_for_the_most_frequent_action(written, actions_file):
    document = json.loads((written / "forward.json").read_text())
    data = SyntheticActions(str(actions_file))
    counts = bigram_counts(data.train_segments, data.num_classes)
    action = int(counts.sum(axis=1).argmax())
    assert document["action"] == data.vocabulary[action]
    assert sum(bar["attention"] for bar in document["candidates"]) == pytest.approx(1.0)
    for bar in document["candidates"]:
        past = data.vocabulary.index(bar["action"])
        assert bar["training_count"] == counts[action, past]
    assert -1 <= document["rank_correlation"]["pairs_seen"] <= 1


def test_the_matrix_of_many_actions_is_binary(tmp_path, monkeypatch):
    monkeypatch.setattr(precedence_results, "MOST_IN_CSV", 2)
    found = Precedence(tuple("abc"), np.full((3, 3), 1 / 3, np.float32), np.zeros((3, 3), int))
    precedence_results.write_matrix(tmp_path, found)
    assert [path.name for path in tmp_path.iterdir()] == ["matrix.npy"]
    np.testing.assert_array_equal(np.load(tmp_path / "matrix.npy"), found.attention)


@pytest.mark.slow
def test_a_checkpoint_of_other_data_is_refused_or_marked(
    capsys, tmp_path, aga_checkpoint, other_actions_file
):
    words = ["explain", "forward", "--ckpt", str(aga_checkpoint), "--output", str(tmp_path)]
    words += ["--data", str(other_actions_file)]
    with pytest.raises(SystemExit):
        main(words)
    assert "--allow_foreign_checkpoint true" in capsys.readouterr().err
    main([*words, "--allow_foreign_checkpoint"])
    assert "foreign checkpoint" in json.loads((tmp_path / "forward.json").read_text())["caveat"]
    assert "synthetic features, foreign checkpoint" in (tmp_path / "bars.svg").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--action", "tke onion"], "did you mean 'take onion'"),
        (["--candidates", "take onion"], "name at least two"),
    ],
)
def test_mistakes_are_one_line(capsys, tmp_path, aga_checkpoint, actions_file, options, message):
    files = ["--ckpt", str(aga_checkpoint), "--data", str(actions_file)]
    with pytest.raises(SystemExit):
        main(["explain", "forward", *files, "--output", str(tmp_path / "out"), *options])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
