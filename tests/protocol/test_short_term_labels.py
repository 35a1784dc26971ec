"""The protocols on the real EPIC-Kitchens labels: sizes, classes, and what constants score."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from anticipate.protocol.short_term_scores import ShortTermScores
from anticipate.types import ShortTermProtocol, Taxonomy

LABELS = Path(os.environ.get("ANTICIPATE_LABELS", "unset"))
pytestmark = [
    pytest.mark.labels,
    pytest.mark.skipif(not (LABELS / "ek100").is_dir(), reason="set ANTICIPATE_LABELS"),
]
SUBSETS = {
    "unseen": "unseen_participants",
    "tail_verb": "tail_verbs",
    "tail_noun": "tail_nouns",
    "tail_action": "tail_actions",
}


def table(path):
    with path.open(newline="") as file:
        return [[field.strip() for field in row] for row in csv.reader(file)]


def labels(dataset, part):
    rows = table(LABELS / dataset / f"{part}.csv")
    return [row[0] for row in rows], np.array([row[4:7] for row in rows], dtype=int)


def taxonomy(dataset, num_verbs, num_nouns):
    with (LABELS / dataset / "actions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    pairs = np.array([[int(row[name]) for name in ("id", "verb", "noun")] for row in rows])
    _, verbs, nouns = pairs[np.argsort(pairs[:, 0])].T.tolist()
    return Taxonomy(tuple(verbs), tuple(nouns), num_verbs, num_nouns)


def constant_scores(protocol, ids, actions, counts):
    """Score every row with the logarithm of the training rows of the actions."""
    metric = ShortTermScores(protocol)
    logits = torch.from_numpy(np.log(np.maximum(counts, 1e-9)))
    for first in range(0, len(ids), 500):
        part = torch.from_numpy(actions[first : first + 500])
        metric.update(logits.expand(len(part), -1), part, ids[first : first + 500])
    return metric


@pytest.fixture(scope="module")
def ek100():
    """The labels and the metric after scoring the frequency prior on all validation rows."""
    subsets = {
        name: [row[0] for row in table(LABELS / "ek100" / f"validation_{file}_ids.csv")]
        for name, file in SUBSETS.items()
    }
    protocol = ShortTermProtocol(
        "ek100",
        taxonomy("ek100", 97, 300),
        {name: frozenset(ids) for name, ids in subsets.items()},
        {},
    )
    ids, truth = labels("ek100", "validation")
    _, train = labels("ek100", "training")
    counts = np.bincount(train[:, 2], minlength=3806)
    return ids, truth, train, subsets, constant_scores(protocol, ids, truth[:, 2], counts)


def test_ek100_subsets_have_the_published_sizes_and_classes(ek100):
    *_, subsets, metric = ek100
    assert {name: len(ids) for name, ids in subsets.items()} == {
        "unseen": 1065,
        "tail_verb": 1760,
        "tail_noun": 1900,
        "tail_action": 3105,
    }
    assert set(subsets["tail_action"]) == {*subsets["tail_verb"], *subsets["tail_noun"]}
    classes = {
        task: (getattr(metric, f"{task}_rows") > 0).sum(1).tolist()
        for task in ("verb", "noun", "action")
    }
    assert classes == {
        "verb": [78, 32, 67],
        "noun": [211, 80, 146],
        "action": [1352, 289, 998],
    }  # overall, unseen, tail


def test_ek100_the_five_most_frequent_classes_are_all_that_the_prior_finds(ek100):
    ids, truth, train, subsets, metric = ek100
    scores = metric.compute()
    assert scores["num_scored"] == 9668
    for column, task in enumerate(("verb", "noun", "action")):
        best = np.argsort(np.bincount(train[:, column]), kind="stable")[::-1][:5]
        everyone = np.ones(len(ids), bool)
        unseen = np.isin(ids, subsets["unseen"])
        tail = np.isin(ids, subsets[f"tail_{task}"])
        for subset, rows in (
            ("overall", everyone),
            ("unseen", unseen),
            ("seen", ~unseen),
            ("tail", tail),
        ):
            present = np.unique(truth[rows, column])
            expected = 100 * np.isin(best, present).sum() / len(present)
            assert scores[subset][task] == pytest.approx(expected)
    # 5 of 78 verbs, 211 nouns and 1,352 actions: far below any published model.
    assert [round(scores["overall"][task], 2) for task in ("verb", "noun", "action")] == [
        6.41,
        2.37,
        0.37,
    ]


def test_ek55_many_shot_classes_and_accuracy_of_the_prior():
    space = taxonomy("ek55", 125, 352)
    many = {
        f"many_shot_{task}": frozenset(
            int(row[0]) for row in table(LABELS / "ek55" / f"EPIC_many_shot_{task}s.csv")[1:]
        )
        for task in ("verb", "noun")
    }
    assert [len(classes) for classes in many.values()] == [26, 71]
    many["many_shot_action"] = frozenset(
        action
        for action, (verb, noun) in enumerate(zip(space.verbs, space.nouns, strict=True))
        if verb in many["many_shot_verb"] or noun in many["many_shot_noun"]
    )
    assert len(many["many_shot_action"]) == 2265
    ids, truth = labels("ek55", "validation")
    _, train = labels("ek55", "training")
    counts = np.bincount(train[:, 2], minlength=2513)
    protocol = ShortTermProtocol("ek55", space, {}, many)
    metric = constant_scores(protocol, ids, truth[:, 2], counts)
    scores = metric.compute()
    assert scores["num_scored"] == 4979
    for column, (task, num_classes) in enumerate({"verb": 26, "noun": 69, "action": 883}.items()):
        found = set(np.flatnonzero(getattr(metric, f"{task}_rows")[0]).tolist())
        assert len(found & many[f"many_shot_{task}"]) == num_classes
        best = np.argsort(np.bincount(train[:, column]), kind="stable")[::-1][:5]
        assert scores["overall"][task]["top1"] == pytest.approx(
            100 * (truth[:, column] == best[0]).mean()
        )
        if task == "verb":  # phantom nouns share the score of the frequent action 0
            hits = np.isin(truth[:, column], best)
            assert scores["overall"][task]["top5"] == pytest.approx(100 * hits.mean())
