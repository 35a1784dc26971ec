"""Short-term scores against plain numpy that sorts for every class, and what sums must obey."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.protocol.short_term_scores import EmptySubsetWarning, ShortTermScores
from anticipate.types import PAD_LABEL, ShortTermProtocol, Taxonomy

NUM_ROWS = 200
VERBS = (0, 0, 1, 1, 2, 2, 2, 4, 4, 0, 5, 5)  # verb 3 has no action
NOUNS = (0, 1, 0, 2, 1, 3, 6, 0, 3, 7, 7, 2)  # nouns 4 and 5 have none
NUM_VERBS, NUM_NOUNS, NUM_ACTIONS = 6, 8, len(VERBS)
IDS = tuple(f"P01_{number}" for number in range(NUM_ROWS))
TARGETS = np.random.default_rng(0).integers(1, NUM_ACTIONS, size=NUM_ROWS)
LOGITS = np.random.default_rng(1).normal(size=(NUM_ROWS, NUM_ACTIONS)).round(1)
LOGITS[::3] = LOGITS[::3].round()  # ties
CLASSES = {"verb": np.array(VERBS), "noun": np.array(NOUNS), "action": np.arange(NUM_ACTIONS)}
TAIL = {"verb": {2, 5}, "noun": {6, 7, 1}, "action": {2, 5, 8}}
ROWS = {"unseen": np.arange(NUM_ROWS) % 4 == 1} | {
    f"tail_{task}": np.isin(CLASSES[task][TARGETS], sorted(ids)) for task, ids in TAIL.items()
}


def protocol(measures="ek100", **class_subsets):
    subsets = {name: frozenset(np.array(IDS)[rows]) for name, rows in ROWS.items()}
    taxonomy = Taxonomy(VERBS, NOUNS, NUM_VERBS, NUM_NOUNS)
    return ShortTermProtocol(measures, taxonomy, subsets, class_subsets)


def scored(metric, rows=slice(None)):
    metric.update(torch.from_numpy(LOGITS[rows]), torch.from_numpy(TARGETS[rows]), IDS[rows])
    return metric


def reference_scores(task, phantom="rulstm"):
    """Scores of one task: the probability of a verb is that of all its actions, one at a time."""
    if task == "action":
        return LOGITS
    probs = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    size = {"verb": NUM_VERBS, "noun": NUM_NOUNS}[task]
    scores = np.zeros((NUM_ROWS, size))
    for group in range(size):
        members = np.flatnonzero(CLASSES[task] == group)
        if phantom == "rulstm" and not len(members):
            members = [0]
        scores[:, group] = probs[:, members].sum(1)
    return scores.round(12)


def reference_mt5r(scores, targets, rows, top=5, classes=None):
    """Sort the rows of every class that occurs, and average the recalls."""
    recalls = []
    for label in np.unique(targets[rows]) if classes is None else classes:
        of_class = scores[rows & (targets == label)]
        if len(of_class):
            best = np.argsort(of_class, axis=1, kind="stable")[:, ::-1][:, :top]
            recalls.append((best == label).any(1).mean())
    return 100 * np.mean(recalls)


def reference_accuracy(scores, targets, top):
    best = np.argsort(scores, axis=1, kind="stable")[:, ::-1][:, :top]
    return 100 * (best == targets[:, None]).any(1).mean()


@pytest.mark.parametrize("phantom", ["rulstm", "zero"])
def test_ek100_recalls_equal_those_of_sorting_for_every_class(phantom):
    found = scored(ShortTermScores(protocol(), phantom)).compute()
    assert found.pop("num_scored") == NUM_ROWS
    expected = {subset: {} for subset in ("overall", "unseen", "tail", "seen")}
    for task, classes in CLASSES.items():
        rows = {
            "overall": np.ones(NUM_ROWS, bool),
            "unseen": ROWS["unseen"],
            "tail": ROWS[f"tail_{task}"],
            "seen": ~ROWS["unseen"],
        }
        for subset, members in rows.items():
            scores = reference_scores(task, phantom)
            expected[subset][task] = reference_mt5r(scores, classes[TARGETS], members)
    assert found.keys() == expected.keys()
    for subset, scores in expected.items():
        assert found[subset] == pytest.approx(scores)


def test_phantom_classes_can_push_a_true_class_out_of_the_first_five():
    taxonomy = Taxonomy((0, 1, 2, 3, 4, 5), (0,) * 6, 8, 1)  # verbs 6 and 7 have no action
    logits, target = torch.tensor([[9.0, 1, 2, 3, 4, 5]]), torch.tensor([2])
    recalls = {}
    for phantom in ("rulstm", "zero"):
        metric = ShortTermScores(ShortTermProtocol("egtea", taxonomy, {}, {}), phantom)
        metric.update(logits, target + 1, ("a",))
        recalls[phantom] = metric.compute()["overall"]["verb"]["recall"]
    assert recalls == {"rulstm": 0.0, "zero": 100.0}


def test_ek55_scores_are_accuracies_and_recalls_of_many_shot_classes():
    many = {"many_shot_verb": {0, 1, 3}, "many_shot_noun": {0, 2, 5}, "many_shot_action": {1, 2}}
    found = scored(ShortTermScores(protocol("ek55", **many))).compute()
    assert found.keys() == {"overall", "num_scored"}
    everything = np.ones(NUM_ROWS, bool)
    for task, classes in CLASSES.items():
        scores, targets = reference_scores(task), classes[TARGETS]
        shots = sorted(many[f"many_shot_{task}"])
        assert found["overall"][task] == pytest.approx(
            {
                "top1": reference_accuracy(scores, targets, 1),
                "top5": reference_accuracy(scores, targets, 5),
                "many_shot_recall": reference_mt5r(scores, targets, everything, classes=shots),
            }
        )


def test_egtea_scores_are_accuracies_and_recalls_of_all_classes():
    found = scored(ShortTermScores(protocol("egtea"))).compute()
    everything = np.ones(NUM_ROWS, bool)
    for task, classes in CLASSES.items():
        scores, targets = reference_scores(task), classes[TARGETS]
        assert found["overall"][task] == pytest.approx(
            {
                "top1": reference_accuracy(scores, targets, 1),
                "top5": reference_accuracy(scores, targets, 5),
                "recall": reference_mt5r(scores, targets, everything),
                "top1_recall": reference_mt5r(scores, targets, everything, top=1),
            }
        )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 16), cut=st.integers(1, NUM_ROWS - 1))
def test_neither_order_nor_batches_nor_processes_matter(seed, cut):
    whole = scored(ShortTermScores(protocol())).compute()
    order = np.random.default_rng(seed).permutation(NUM_ROWS)
    shares = [ShortTermScores(protocol()) for _ in range(2)]
    for metric, rows in zip(shares, (order[:cut], order[cut:]), strict=True):
        ids = tuple(IDS[row] for row in rows)
        metric.update(torch.from_numpy(LOGITS[rows]), torch.from_numpy(TARGETS[rows]), ids)
    first, second = shares
    for name in first.metric_state:  # what summing over processes does
        getattr(first, name).add_(getattr(second, name))
    assert first.compute() == whole


def test_states_are_declared_as_sums():
    metric = ShortTermScores(protocol())
    assert set(metric._reductions) == set(metric.metric_state)
    assert {reduction.__name__ for reduction in metric._reductions.values()} == {"dim_zero_sum"}


def test_rows_without_a_known_action_are_left_out():
    metric = scored(ShortTermScores(protocol()))
    withheld = torch.full((3,), PAD_LABEL)
    metric.update(torch.randn(3, NUM_ACTIONS), withheld, ("x", "y", "z"))
    mixed = torch.tensor([PAD_LABEL, int(TARGETS[0])])
    metric.update(torch.from_numpy(LOGITS[[1, 0]]), mixed, IDS[1::-1])
    twice = ShortTermScores(protocol())
    scored(scored(twice), slice(0, 1))
    assert metric.compute() == twice.compute()


def test_half_precision_and_float32_scores_count_like_their_exact_values():
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        logits = torch.from_numpy(LOGITS).to(dtype)
        metrics = [ShortTermScores(protocol()) for _ in range(2)]
        for metric, scores in zip(metrics, (logits, logits.double()), strict=True):
            metric.update(scores, torch.from_numpy(TARGETS), IDS)
        assert metrics[0].compute() == metrics[1].compute()


def test_diverged_scores_are_no_hits():
    metric = ShortTermScores(protocol())
    metric.update(torch.full((NUM_ROWS, NUM_ACTIONS), torch.nan), torch.from_numpy(TARGETS), IDS)
    assert set(metric.compute()["overall"].values()) == {0.0}


def test_an_empty_subset_is_nan_with_a_warning_that_names_it():
    rows = slice(1, NUM_ROWS, 4)
    metric = scored(ShortTermScores(protocol()), rows)
    with pytest.warns(EmptySubsetWarning) as caught:
        scores = metric.compute()
    assert np.isnan(list(scores["seen"].values())).all()
    assert not np.isnan(list(scores["overall"].values())).any()
    assert {str(warning.message).split(":")[0] for warning in caught} == {
        "seen verb",
        "seen noun",
        "seen action",
    }


@pytest.mark.parametrize("measures", ["ek100", "ek55", "egtea"])
@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_nothing_scored_is_nan_everywhere(measures):
    with pytest.warns(EmptySubsetWarning):
        scores = ShortTermScores(protocol(measures)).compute()
    assert scores["num_scored"] == 0
    assert "NaN" in json.dumps(scores["overall"]["action"])


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        (torch.zeros(2, 11), [0, 1], "logits have 11 actions, the data set 12"),
        (torch.zeros(2, 12), [0, 12], r"outside \[0, 12\)"),
        (torch.zeros(2, 12), [-1, 0], r"outside \[0, 12\)"),
        (torch.zeros(3, 12), [0, 1, 2], "3 rows have 2 segment ids"),
    ],
)
def test_rows_that_do_not_fit_the_data_set_are_refused(logits, targets, message):
    with pytest.raises(ValueError, match=message):
        ShortTermScores(protocol()).update(logits, torch.tensor(targets), ("a", "b"))
