"""Verdicts on claims, and the noise that they rest on."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from anticipate.figures.noise import MOST_SEEDS, POWER, difference, summarize
from anticipate.lab.report import published
from anticipate.lab.report.claims import (
    THREE_SEEDS,
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
    gap = difference(*points(first, second).values())
    test = stats.ttest_rel(first, second)
    assert gap.mean == pytest.approx((first - second).mean())
    if np.ptp(first - second) > 1e-6:
        interval = test.confidence_interval(0.95)
        assert gap.margin() == pytest.approx((interval.high - interval.low) / 2, rel=1e-6)
        pair = test.confidence_interval(0.975)
        assert gap.margin(2) == pytest.approx((pair.high - pair.low) / 2, rel=1e-6)


def test_two_settings_are_compared_where_both_have_a_run():
    a, b = points([1, 2, 3], [0, 1]).values()
    gap = difference(a, b)
    assert (gap.mean, gap.num_runs) == (1.0, 2)
    alone = difference(a, {("1", 2): 1.0})
    assert (alone.mean, alone.margin(), alone.seeds()) == (2.0, math.inf, math.inf)


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
    assert verdict(higher("a", "b"), *rows, [30, 90, -50]) is Verdict.YES  # not noise of a and b
    assert verdict(higher("a", "c"), *rows, [30]) is Verdict.AGREES


def test_one_run_each_tells_the_direction_only():
    assert verdict(higher("a", "b"), [50], [40]) is Verdict.AGREES
    assert verdict(higher("b", "a"), [50], [40]) is Verdict.DISAGREES
    assert verdict(best("b", "abc"), [1], [3], [2]) is Verdict.AGREES
    assert verdict(best("c", "abc"), [1], [3], [2]) is Verdict.DISAGREES
    assert verdict(inside("abc"), [1], [3], [2]) is Verdict.AGREES
    assert verdict(inside("abc"), [4], [3], [2]) is Verdict.DISAGREES
    assert verdict(flat("ab", DENSE_TOP1, 1.2), [1.0], [1.1]) is Verdict.AGREES
    assert verdict(flat("ab", DENSE_TOP1, 1.2), [1.0], [1.3]) is Verdict.DISAGREES


def test_the_best_setting_has_to_beat_all_others():
    low, high, near = [10, 11, 10.4], [20, 21, 20.6], [20.1, 20.8, 20.5]
    assert verdict(best("b", "abc"), low, high, low) is Verdict.YES
    assert verdict(best("b", "abc"), low, high, near) is Verdict.UNDECIDED
    assert verdict(best("c", "abc"), low, high, near) is Verdict.UNDECIDED
    assert verdict(best("a", "abcd"), low, high, near, low) is Verdict.NO


def test_an_optimum_at_an_end_is_not_inside():
    low, high = [10, 11, 10.4], [20, 21, 20.6]
    assert verdict(inside("abc"), low, high, low) is Verdict.YES
    assert verdict(inside("abc"), high, low, low) is Verdict.NO


@pytest.mark.parametrize(
    "claim", [best("b", "xabc"), inside("xabc"), flat("xabc", DENSE_TOP1, 9.0)]
)
def test_a_claim_about_an_axis_needs_all_of_it(claim):
    lacking = found(claim, [10, 11], [20, 21], [10, 12])
    assert (lacking.verdict, lacking.decides) == (Verdict.MISSING, "runs of x")


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
    steady, slower, unsteady = [1.0, 1.01], [1.3, 1.31], [1.0, 1.3]
    assert verdict(flat("ab", DENSE_TOP1, 1.2), steady, [1.1, 1.1], [9, 9]) is Verdict.YES
    assert verdict(flat("ab", DENSE_TOP1, 1.2), steady, slower) is Verdict.NO
    assert verdict(flat("ab", DENSE_TOP1, 1.2), steady, unsteady) is Verdict.UNDECIDED


def found(check, *rows, names="abcdefgh", **settings):
    return judge(Claim("", "", check), {DENSE_TOP1: points(*rows, names=names)}, **settings)


@pytest.mark.parametrize("num_splits", [1, 2])
def test_as_many_seeds_are_needed_as_show_a_difference_four_times_of_five(num_splits):
    gaps = np.array([2.0, -1.5, 1.0, 0.5, -0.5, 1.2])
    keys = [(f"{run % num_splits}", run // num_splits) for run in range(len(gaps))]
    rows = {"a": dict(zip(keys, 50 + gaps, strict=True)), "b": dict.fromkeys(keys, 50.0)}
    seeds = difference(rows["a"], rows["b"]).seeds()

    def power(seeds):
        runs = num_splits * round(seeds)
        generator = np.random.default_rng(0)
        drawn = generator.normal(gaps.mean(), gaps.std(ddof=1), size=(20000, runs))
        return (stats.ttest_1samp(drawn, 0, axis=1, alternative="greater").pvalue < 0.025).mean()

    assert power(seeds) == pytest.approx(POWER, abs=0.02)
    assert power(seeds - 3) < POWER
    open_ = judge(Claim("", "", higher("a", "b")), {DENSE_TOP1: rows})
    assert (open_.verdict, open_.decides) == (
        Verdict.UNDECIDED,
        f"about {seeds:.0f} seeds on these splits",
    )


@pytest.mark.parametrize(
    ("claim", "num_settings"),
    [(everywhere("a", "b"), 2), (best("a", "abcdef"), 6), (inside("abcdef"), 6)],
    ids=["everywhere", "best", "inside"],
)
def test_equal_settings_refute_or_prove_a_claim_by_chance_in_few_studies(claim, num_settings):
    generator, columns, studies = np.random.default_rng(0), 16, 200
    told = []
    for _ in range(studies):
        rows = generator.normal(size=(num_settings, 3))
        names = [DENSE_TOP1] + [f"0.2/top1_moc/{horizon}" for horizon in range(columns - 1)]
        noisy = {name: points(*rows + generator.normal(size=rows.shape)) for name in names}
        told.append(judge(Claim("", "", claim), noisy).verdict)
    assert told.count(Verdict.NO) < 0.08 * studies
    assert told.count(Verdict.YES) < 0.05 * studies


def test_more_seeds_than_anybody_trains_are_not_counted():
    same = found(higher("a", "b"), [50, 41, 45], [40, 48, 48.001])
    assert same.decides == f"more than {MOST_SEEDS} seeds"


def test_one_clear_loss_or_all_wins_decide_a_claim_on_many_columns():
    near, far = ([50, 52, 51], [49, 50, 51]), ([50, 52, 51], [45, 46, 49])
    unsteady, worse = ([50, 56, 52], [50, 50, 49]), ([45, 46, 49], [50, 53, 50])

    def seeds(rows, comparisons=1):
        return difference(*points(*rows).values()).seeds(comparisons)

    def decides(*columns):
        names = ("0.2/mean_moc/0.1", "0.3/mean_moc/0.5")
        scores = {name: points(*rows) for name, rows in zip(names, columns, strict=False)}
        return judge(Claim("", "", everywhere("a", "b")), scores).decides

    assert 2 < seeds(far) < seeds(near) <= MOST_SEEDS
    assert decides(near, far) == f"about {seeds(near):.0f} seeds on these splits"
    average = np.mean([unsteady, worse], axis=0)
    assert average[0].mean() < average[1].mean()
    assert decides(unsteady, worse) == f"about {seeds(average):.0f} seeds on these splits"
    assert decides(([51], [50])) == decides(([50, 51], [50, 50])) == THREE_SEEDS


def test_the_interval_over_columns_is_that_of_the_average_of_each_run():
    first, second = [[50, 51, 53], [49, 51, 50]], [[30, 33, 31], [31, 29, 28]]
    names = ("0.2/mean_moc/0.1", "0.3/mean_moc/0.5")
    columns = dict(zip(names, (points(*first), points(*second)), strict=True))
    a, b = np.mean([first, second], axis=0)
    half = np.diff(stats.ttest_rel(a, b).confidence_interval(0.95))[0] / 2
    gap = f"{a.mean():.1f} against {b.mean():.1f} ({(a - b).mean():+.1f} ± {half:.2g}) on average"
    measured = judge(Claim("", "", everywhere("a", "b")), columns).measured
    assert measured == f"{gap}; higher in 2 of 2"
    alone = {"c": {("1", 0): 1.0}}  # a setting with fewer runs, in one of the columns
    columns[names[0]] |= alone
    assert judge(Claim("", "", everywhere("a", "b")), columns).measured == measured


def test_best_and_inside_tell_the_gaps_they_rest_on():
    rows = [10, 11], [20, 22], [19, 21.5], [12, 12]
    scores = points(*rows)
    half = {name: f"{difference(scores['b'], scores[name]).margin():.2g}" for name in "acd"}
    ends = f"a: 10.5 (+10.5 ± {half['a']}), d: 12.0 (+9.0 ± {half['d']})"
    told = f"c: 20.2 (+0.75 ± {half['c']}), {ends}"
    assert found(best("b", "abcd"), *rows).measured == f"b: 21.0; best other {told}"
    told = ends
    assert found(inside("abcd"), *rows).measured == f"best inside: b: 21.0; {told}"


def test_made_up_features_and_other_machines_decide_nothing():
    rows = [50, 51, 50.5], [40, 41, 40.6]
    assert found(higher("a", "b"), *rows).decides == "decided on these data"
    assert found(higher("a", "b"), *rows, synthetic=True).decides.startswith("real features")
    once = found(higher("a", "b"), [50], [40], synthetic=True).decides
    assert once.index("three seeds") < once.index("; then real features")
    seconds = "efficiency/seconds_per_video"
    cost = Claim("", "", higher("a", "b", seconds), seconds)
    decides = judge(cost, {seconds: points(*rows)}, synthetic=True).decides
    assert "GPU as in the paper" in decides
    assert "features" not in decides


def test_what_lacks_is_named():
    lacking = found(higher("a", "c"), [50], [40])
    assert lacking == (Verdict.MISSING, "", "runs of c")
    assert found(inside("ab"), [50], [40]).decides == "runs of at least three settings"


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
    assert len(papers) == 37


@each_claim
def test_claims_of_papers_come_with_the_papers_figures(study, claim):
    assert bool(claim.published) == (claim.source != "this project")


@each_claim
def test_the_papers_own_figures_agree_with_its_claims(study, claim):
    printed = published.scores(study.data, claim.source, study.methods)
    assert judge(claim, printed).verdict in (Verdict.AGREES, Verdict.MISSING)


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        (
            "MixANT beats MANTA in Mean MoC in all settings",
            "29.5 against 27.9 (+1.6) on average; higher in 8 of 8",
        ),
        ("MixANT beats FUTR in Mean MoC", "29.5 against 26.6 (+2.9) on average; higher in 8 of 8"),
        ("MixANT beats a Transformer of 18 blocks", "54.1 against 50.3 (+3.8)"),
        ("GTDA is slower than MixANT", "71.8 against 1.7 (+70.1)"),
        ("Best at 3 static blocks", "3: 53.5; best other 4: 53.3 (+0.2), 1: 53.0 (+0.5), 6: 52.4"),
        ("MixMamba is above Mamba", "24.2 against 22.5 (+1.8) on average; higher in 9 of 9"),
        ("Mamba is above attention", "higher in 8 of 8"),
        ("AGA beats RULSTM", "17.5 against 13.3 (+4.2)"),
    ],
)
def test_published_figures_are_read_from_the_rows_of_the_claims_source(text, figures):
    (told, *_) = [claim.published for _, claim in CLAIMS if claim.text.startswith(text)]
    assert figures in told


def test_every_method_of_a_study_is_published():
    for study in studies():
        sources = ", ".join(claim["source"] for claim in study.claims)
        known = published.scores(study.data, sources, study.methods).values()
        assert {point for rows in known for point in rows} == study.methods.keys()
