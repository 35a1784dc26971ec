"""Verdicts on claims, and the noise that they rest on."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from anticipate.figures.noise import difference, noise, summarize
from anticipate.lab.report.claims import (
    Claim,
    Verdict,
    best,
    claims_of,
    everywhere,
    flat,
    higher,
    inside,
    judge,
)
from anticipate.lab.studies import studies
from anticipate.protocol.measures import DENSE_TOP1, EVERYWHERE


def points(*rows, names="abcdefgh"):
    """Scores of settings a, b, .. in runs of seed 0, 1, .."""
    return {
        name: {("1", seed): float(score) for seed, score in enumerate(row)}
        for name, row in zip(names, rows, strict=False)
    }


def verdict(check, *rows):
    return judge(Claim("", "", check), {DENSE_TOP1: points(*rows)}).verdict


scores = st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=2, max_size=4)


@settings(max_examples=25, deadline=None)
@given(scores)
def test_two_settings_are_compared_as_the_paired_t_test_does(rows):
    first, second = (np.array(row) for row in rows[:2])
    gap = difference(points(first, second), "a", "b")
    test = stats.ttest_rel(first, second)
    assert gap.mean == pytest.approx((first - second).mean())
    if np.ptp(first - second) > 1e-6:
        interval = test.confidence_interval(0.95)
        assert gap.margin == pytest.approx((interval.high - interval.low) / 2, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(scores, st.floats(-30, 30))
def test_noise_ignores_what_settings_and_splits_explain(rows, shift):
    shifted = [
        [score + shift * seed + 7 * number for seed, score in enumerate(row)]
        for number, row in enumerate(rows)
    ]
    before, after = noise(points(*rows)), noise(points(*shifted))
    assert before.num_settings == after.num_settings == len(rows)
    assert before.deviation == pytest.approx(after.deviation, abs=1e-6)


def test_settings_are_compared_where_all_have_a_run():
    found = points([1, 2, 3], [0, 1])
    assert difference(found, "a", "b").mean == 1.0
    assert noise(points([1], [2])) is None
    assert noise(points([1, 2, 3])) is None


def test_a_mean_is_over_splits_of_means_over_seeds():
    series = {("1", 0): 10.0, ("1", 1): 20.0, ("2", 0): 31.0}
    summary = summarize(series)
    assert summary.mean == pytest.approx((15 + 31) / 2)
    assert summary.spread == pytest.approx(16 / math.sqrt(2))
    assert (summary.num_splits, summary.num_runs) == (2, 3)
    assert summarize({("1", 0): 1.0, ("1", 1): 3.0}).spread == pytest.approx(math.sqrt(2))
    assert summarize({("1", 0): 1.0}).spread is None


def test_a_comparison_holds_fails_or_stays_open():
    assert verdict(higher("a", "b"), [50, 51, 50.5], [40, 41, 40.6]) is Verdict.YES
    assert verdict(higher("b", "a"), [50, 51, 50.5], [40, 41, 40.6]) is Verdict.NO
    assert verdict(higher("a", "b"), [50, 41, 45], [40, 48, 44]) is Verdict.UNDECIDED


def test_two_settings_with_more_runs_than_others_are_compared_over_all_of_theirs():
    rows = [50, 51, 50.5], [40, 41, 40.6]
    assert verdict(higher("a", "b"), *rows) is Verdict.YES
    assert verdict(higher("a", "b"), *rows, [30]) is Verdict.YES
    assert verdict(higher("a", "c"), *rows, [30]) is Verdict.AGREES


def test_one_run_each_tells_the_direction_only():
    assert verdict(higher("a", "b"), [50], [40]) is Verdict.AGREES
    assert verdict(higher("b", "a"), [50], [40]) is Verdict.DISAGREES
    assert verdict(best("b"), [1], [3], [2]) is Verdict.AGREES
    assert verdict(best("c"), [1], [3], [2]) is Verdict.DISAGREES
    assert verdict(inside(), [1], [3], [2]) is Verdict.AGREES
    assert verdict(inside(), [4], [3], [2]) is Verdict.DISAGREES


def test_the_best_setting_has_to_beat_both_ends_and_lose_to_none():
    low, high, near = [10, 11, 10.4], [20, 21, 20.6], [20.1, 20.8, 20.5]
    assert verdict(best("b"), low, high, near, low) is Verdict.YES
    assert verdict(best("c"), low, high, near, low) is Verdict.UNDECIDED  # b is a little higher
    assert verdict(best("b"), low, high, low, near) is Verdict.UNDECIDED  # an end is as good
    assert verdict(best("a"), low, high, near, low) is Verdict.NO


def test_an_optimum_at_an_end_is_not_inside():
    low, high = [10, 11, 10.4], [20, 21, 20.6]
    assert verdict(inside(), low, high, low) is Verdict.YES
    assert verdict(inside(), high, low, low) is Verdict.NO


def test_everywhere_counts_settings_and_one_loss_refutes():
    names = ("0.2/mean_moc/0.1", "0.3/top1_moc/0.5", "0.3/mof/0.5")
    better, worse = [50, 51, 50.5], [40, 41, 40.6]
    all_better = {name: points(better, worse) for name in names}
    claim = Claim("", "", everywhere("a", "b"))
    found = judge(claim, all_better)
    assert (found.verdict, "2 of 2" in found.measured) == (Verdict.YES, True)
    assert judge(claim, all_better | {names[0]: points(worse, better)}).verdict is Verdict.NO


def test_everywhere_looks_at_the_columns_that_a_claim_and_the_papers_have():
    better, worse = points([50], [40]), points([40], [50])
    dense = {"0.2/mean_moc/0.1": better, "0.2/top1_moc/0.1": worse, "0.2/mof/0.1": worse}
    assert judge(Claim("", "", everywhere("a", "b")), dense).verdict is Verdict.DISAGREES
    mean = Claim("", "", everywhere("a", "b", ["mean_moc"]))
    assert judge(mean, dense).verdict is Verdict.AGREES
    clips = {"overall/verb": better, "tail/action": better, "seen/verb": worse}
    found = judge(Claim("", "", everywhere("a", "b", EVERYWHERE["short_term"])), clips)
    assert (found.verdict, "2 of 2" in found.measured) == (Verdict.AGREES, True)


def test_everywhere_of_short_term_studies_is_in_the_nine_columns_but_those_left_out():
    better, worse = [50, 51, 50.5], [40, 41, 40.6]
    columns = [f"{part}/{task}" for part in ("overall", "unseen", "tail")
               for task in ("verb", "noun", "action")]  # fmt: skip
    scores = {name: points(better, worse) for name in columns}
    scores |= {name: points(worse, better) for name in ("seen/noun", "efficiency/samples")}
    columns = EVERYWHERE["short_term"]
    found = judge(Claim("", "", everywhere("a", "b", columns)), scores)
    assert (found.verdict, "9 of 9" in found.measured) == (Verdict.YES, True)
    scores["unseen/noun"] = points(worse, better)
    assert judge(Claim("", "", everywhere("a", "b", columns)), scores).verdict is Verdict.NO
    spared = judge(Claim("", "", everywhere("a", "b", columns, ["unseen/noun"])), scores)
    assert (spared.verdict, "8 of 8" in spared.measured) == (Verdict.YES, True)


def test_a_cost_is_flat_within_its_factor():
    assert verdict(flat("ab", DENSE_TOP1, 1.2), [1.0], [1.1], [9.0]) is Verdict.YES
    assert verdict(flat("ab", DENSE_TOP1, 1.2), [1.0], [1.3]) is Verdict.NO


CLAIMS = [(study, claim) for study in studies() for claim in claims_of(study)]
each_claim = pytest.mark.parametrize(("study", "claim"), CLAIMS, ids=lambda one: one[-1])


@each_claim
def test_what_was_not_run_is_not_judged(study, claim):
    assert judge(claim, {}).verdict is Verdict.MISSING


@each_claim
def test_claims_are_about_settings_of_their_study(study, claim):
    names = [
        DENSE_TOP1,
        "0.2/mean_moc/0.1",
        "overall/action",
        "routing/largest_share",
        "efficiency/seconds_per_video",
    ]
    rows = {point: {("1", 0): 1.0} for point in study.points}
    assert judge(claim, {name: rows for name in names}).verdict is not Verdict.MISSING


def test_the_papers_claims_are_all_there():
    papers = [claim for _, claim in CLAIMS if claim.source != "this project"]
    assert len(papers) == 35
