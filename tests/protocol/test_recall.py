"""Ranks, marginals and recalls against plain numpy that sorts."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.protocol import recall
from anticipate.protocol.recall import group_actions, marginalize, softmax, target_ranks


def reference_ranks(scores, targets):
    """Sort every row, stably and ascending, and look the true class up from the end."""
    order = np.argsort(scores, axis=1, kind="stable")[:, ::-1]
    return np.array([list(row).index(target) for row, target in zip(order, targets, strict=True)])


def test_the_examples_of_the_docstrings_hold():
    assert doctest.testmod(recall).failed == 0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 16), num_levels=st.integers(1, 6), num_classes=st.integers(1, 12))
def test_ranks_equal_those_of_a_stable_sort_read_backwards(seed, num_levels, num_classes):
    random = np.random.default_rng(seed)
    scores = random.integers(num_levels, size=(7, num_classes)).astype(np.float64)
    targets = random.integers(num_classes, size=7)
    np.testing.assert_array_equal(target_ranks(scores, targets), reference_ranks(scores, targets))


def test_a_row_of_zeros_ranks_the_largest_ids_first():
    ranks = target_ranks(np.zeros((3806, 3806)), np.arange(3806))
    np.testing.assert_array_equal(np.flatnonzero(ranks < 5), np.arange(3801, 3806))


@pytest.mark.parametrize("nan", [0, 1, 2])
def test_nan_never_makes_a_hit(nan):
    scores = np.array([[3.0, 2.0, 1.0]])
    scores[0, nan] = np.nan
    before = target_ranks(np.array([[3.0, 2.0, 1.0]]), np.array([1]))
    assert target_ranks(scores, np.array([1])) >= before
    assert target_ranks(np.full((1, 3), np.nan), np.array([nan])) == 3


@pytest.mark.parametrize(("phantom", "filled"), [("zero", 0.0), ("rulstm", None)])
def test_marginals_add_the_actions_of_each_group(phantom, filled):
    random = np.random.default_rng(0)
    groups = random.choice([0, 1, 3, 6], size=40)
    probs = softmax(random.normal(size=(9, 40)))
    found = marginalize(probs, group_actions(tuple(groups.tolist()), 8), phantom)
    for group in range(8):
        members = groups == group
        missing = probs[:, 0] if filled is None else filled
        expected = probs[:, members].sum(1) if members.any() else missing
        np.testing.assert_allclose(found[:, group], expected, rtol=1e-12)


def test_groups_of_equal_sums_tie_exactly_wherever_their_actions_stand():
    groups = tuple(np.random.default_rng(1).permutation(np.repeat(np.arange(50), 23)).tolist())
    marginals = marginalize(softmax(np.zeros((1, 1150))), group_actions(groups, 50), "zero")
    assert len(np.unique(marginals)) == 1


def test_softmax_bears_large_logits_and_ignores_a_common_offset():
    logits = np.random.default_rng(2).normal(size=(4, 6))
    np.testing.assert_allclose(softmax(1e4 + logits), softmax(logits), rtol=1e-9)
    np.testing.assert_allclose(softmax(logits).sum(1), 1, rtol=1e-12)
