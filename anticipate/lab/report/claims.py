"""What the papers say about a setting, and whether runs bear it out.

A claim is a set of comparisons "this setting scores higher than that one". It holds when all that
matter are clear of the noise, fails when one is clearly the other way round, and is not decidable
otherwise. Where one of many comparisons is enough for a verdict, each has to be clearer
(Bonferroni's correction): equal settings refute a claim by chance in at most 5 % of studies.
With one pair of runs the noise is unknown, so only the direction is reported.
The paper's figures are checked in the same way as one run per setting, so that both read alike.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import permutations
from math import isfinite
from statistics import fmean
from typing import Any, NamedTuple

from anticipate.figures.noise import (
    MOST_SEEDS,
    Difference,
    Series,
    common_keys,
    difference,
)
from anticipate.lab.report import published
from anticipate.lab.studies import Study
from anticipate.protocol.measures import DENSE_TOP1, EVERYWHERE, MAIN_MEASURES

Points = Mapping[str, Series]
"""Scores by setting, settings in the order of the study."""
Scores = Mapping[str, Points]
"""Those by measure."""


class Verdict(StrEnum):
    """What runs say about a claim."""

    YES = "yes"
    NO = "no"
    UNDECIDED = "not decidable within the noise"
    AGREES = "one common run: agrees"
    DISAGREES = "one common run: disagrees"
    MISSING = "not measured"


LEAST_RUNS = 3
"""With fewer pairs of runs their deviation says nothing of how many are needed."""
THREE_SEEDS = "three seeds of each (--seeds 0 1 2)"
TOO_MANY_SEEDS = f"more than {MOST_SEEDS} seeds"
REAL_FEATURES = "real features, the whole recipe"
SAME_MACHINE = "a GPU as in the paper, without other work"
DECIDED = "decided on these data"


class Finding(NamedTuple):
    """A verdict and what it rests on."""

    verdict: Verdict
    measured: str
    """Empty where nothing was."""
    decides: str
    """What would decide the claim."""


class Claim(NamedTuple):
    """A sentence of a paper about one study."""

    source: str
    text: str
    check: Callable[[Scores], Finding]
    measure: str = DENSE_TOP1
    published: str = ""
    """The paper's figures for it; empty where there are none."""


def claims_of(study: Study) -> list[Claim]:
    """Return the claims of a study.yaml: source, text and one criterion each.

    The criterion is one of `higher: [better, worse]`, `best: point`, `inside: true`,
    `everywhere: [better, worse]`, optionally with `but`, and `flat: [points]` with `factor`;
    `measure` is the path of a score or cost, by default the main one of the task; for `everywhere`
    it is one of `EVERYWHERE`, by default all of the task. `read_study` has seen that they are
    whole. The paper's figures are those of `published`, else those of the `methods` of the study.
    """
    return [_read_claim(claim, study) for claim in study.claims]


def _read_claim(claim: Mapping[str, Any], study: Study) -> Claim:
    measure = claim.get("measure", MAIN_MEASURES[study.task][0])
    found = Claim(claim["source"], claim["text"], _criterion(claim, study, study.points), measure)
    printed = published.scores(study.data, found.source, study.methods)
    names = {name for points in printed.values() for name in points}
    on_axis = [point for point in study.points if point in names]
    figures = judge(found._replace(check=_criterion(claim, study, on_axis)), printed).measured
    return found._replace(published=claim.get("published") or figures)


def _criterion(
    claim: Mapping[str, Any], study: Study, axis: Sequence[str]
) -> Callable[[Scores], Finding]:
    """Return the check of a claim on the points of an axis, in their order."""
    measure = claim.get("measure", MAIN_MEASURES[study.task][0])
    columns = [claim["measure"]] if "measure" in claim else EVERYWHERE[study.task]
    criteria: dict[str, Callable[[Any], Callable[[Scores], Finding]]] = {
        "higher": lambda points: higher(points[0], points[1], measure),
        "best": lambda point: best(point, axis, measure),
        "inside": lambda _: inside(axis, measure),
        "everywhere": lambda points: everywhere(
            points[0], points[1], columns, claim.get("but", ())
        ),
        "flat": lambda points: flat(points, measure, claim["factor"]),
    }
    (kind,) = criteria.keys() & claim.keys()
    return criteria[kind](claim[kind])


def judge(claim: Claim, scores: Scores, synthetic: bool = False) -> Finding:
    """Check a claim on the scores of its study.

    Args:
        claim: What is claimed.
        scores: Scores by measure and setting.
        synthetic: They are of made-up features of a data set that has real ones.

    Returns:
        `Verdict.MISSING` where a setting was not run or has no score of the kind.
    """
    try:
        found = claim.check(scores)
    except _MissingError as missing:
        found = Finding(Verdict.MISSING, "", f"runs of {missing}")
    last = REAL_FEATURES if synthetic else ""
    if claim.measure.startswith("efficiency/"):
        last = SAME_MACHINE
    return found._replace(decides="; then ".join(filter(None, (found.decides, last))) or DECIDED)


class _MissingError(Exception):
    """A setting that a claim needs and that was not run."""


def higher(better: str, worse: str, measure: str = DENSE_TOP1) -> Callable[[Scores], Finding]:
    """Claim that one setting scores higher than another."""

    def check(scores: Scores) -> Finding:
        gap, text = _compare(scores, measure, better, worse)
        return _finding([gap], text)

    return check


def best(point: str, axis: Sequence[str], measure: str = DENSE_TOP1) -> Callable[[Scores], Finding]:
    """Claim that a setting of an axis scores higher than every other one."""

    def check(scores: Scores) -> Finding:
        points = _measured(scores, measure, axis)
        gaps = {name: difference(points[point], points[name]) for name in points if name != point}
        if not gaps:
            raise _MissingError("other settings")
        ends = [name for name in (axis[0], axis[-1]) if name != point]
        told = dict.fromkeys((min(gaps, key=lambda name: gaps[name].mean), *ends))
        text = f"{point}: {_mean(points[point])}; best other {_against(points, gaps, told)}"
        return _finding(list(gaps.values()), text)

    return check


def inside(axis: Sequence[str], measure: str = DENSE_TOP1) -> Callable[[Scores], Finding]:
    """Claim that the optimum lies between the ends of an axis.

    The best setting inside is chosen by the scores that it is judged by, so that it has to be as
    much clearer as there are settings to choose from.
    """

    def check(scores: Scores) -> Finding:
        points = _measured(scores, measure, axis)
        if len(points) < 3:
            raise _MissingError("at least three settings")
        first, *inner, last = points
        top = max(inner, key=lambda name: fmean(points[name].values()))
        gaps = {end: difference(points[top], points[end]) for end in (first, last)}
        text = f"best inside: {top}: {_mean(points[top])}; {_against(points, gaps, gaps)}"
        return _finding(list(gaps.values()), text, chosen_from=len(inner))

    return check


def everywhere(
    better: str,
    worse: str,
    columns: Sequence[str] = EVERYWHERE["dense"],
    but: Collection[str] = (),
) -> Callable[[Scores], Finding]:
    """Claim that one setting scores higher in every column that the papers print of some measures.

    These are all ratios and horizons, or all subsets of the clips but those of seen participants;
    without the columns `but`. It fails when the average over the columns is clearly lower, or a
    column. The interval told is that of the average.
    """

    def check(scores: Scores) -> Finding:
        parts = {name: name.split("/") for name in scores if name not in but}
        names = [name for name, part in parts.items() if part[1] in columns and part[0] != "seen"]
        if not names:
            raise _MissingError(f"{better} and {worse}")
        gaps = [_compare(scores, name, better, worse)[0] for name in names]
        won = sum(gap.mean > 0 for gap in gaps)
        average = {"": _average({name: scores[name] for name in names})}
        mean, text = _compare(average, "", better, worse)
        text += f" on average; higher in {won} of {len(gaps)}"
        verdict = _verdict(gaps)
        if _verdict([mean]) is Verdict.NO:
            verdict = Verdict.NO
        return _finding(gaps, text, verdict, seeds_of_average=mean.seeds())

    return check


def flat(points: Sequence[str], measure: str, factor: float) -> Callable[[Scores], Finding]:
    """Claim that a cost hardly changes: none is more than `factor` times another."""

    def check(scores: Scores) -> Finding:
        found = _measured(scores, measure, points)
        means = [fmean(series.values()) for series in found.values()]
        text = f"largest / least = {max(means) / min(means):.2f} (criterion: at most {factor})"
        allowed = {
            name: {key: factor * cost for key, cost in found[name].items()} for name in found
        }
        gaps = [difference(allowed[one], found[other]) for one, other in permutations(found, 2)]
        return _finding(gaps, text)

    return check


def _measured(scores: Scores, measure: str, names: Sequence[str]) -> Points:
    """Return settings with the runs that they have in common."""
    known = scores.get(measure, {})
    missing = [name for name in names if name not in known]
    if missing:
        raise _MissingError(" and ".join(missing))
    points = {name: known[name] for name in names}
    keys = common_keys(points)
    if not keys:
        raise _MissingError("all settings with the same split and seed")
    return {name: {key: series[key] for key in keys} for name, series in points.items()}


def _compare(scores: Scores, measure: str, better: str, worse: str) -> tuple[Difference, str]:
    points = _measured(scores, measure, (better, worse))
    gap = difference(points[better], points[worse])
    return gap, f"{_mean(points[better])} against {_mean(points[worse])} ({_gap(gap)})"


def _verdict(gaps: Sequence[Difference], chosen_from: int = 1) -> Verdict:
    """Judge comparisons of which all have to be won, and of which one clear loss is enough.

    Args:
        gaps: The comparisons.
        chosen_from: How many sets of comparisons there were to choose this one from.
    """
    if any(gap.num_runs == 1 for gap in gaps):
        return Verdict.AGREES if all(gap.mean > 0 for gap in gaps) else Verdict.DISAGREES
    if any(gap.mean < -gap.margin(len(gaps)) for gap in gaps):
        return Verdict.NO
    won = all(gap.mean > gap.margin(chosen_from) for gap in gaps)
    return Verdict.YES if won else Verdict.UNDECIDED


def _finding(
    gaps: Sequence[Difference],
    text: str,
    verdict: Verdict | None = None,
    chosen_from: int = 1,
    seeds_of_average: float = 0.0,
) -> Finding:
    verdict = verdict or _verdict(gaps, chosen_from)
    return Finding(verdict, text, _next_step(verdict, gaps, chosen_from, seeds_of_average))


def _next_step(
    verdict: Verdict, gaps: Sequence[Difference], chosen_from: int, seeds_of_average: float
) -> str:
    """Say how many seeds would decide a claim: one clear loss refutes it, else all must be won.

    The largest of many losses is large by chance, too: it never takes fewer than their average.
    """
    if verdict in (Verdict.YES, Verdict.NO):
        return ""
    if min(gap.num_runs for gap in gaps) < LEAST_RUNS:
        return THREE_SEEDS
    lost = [gap.seeds(len(gaps)) for gap in gaps if gap.mean <= 0]
    needed = min(lost) if lost else max(gap.seeds(chosen_from) for gap in gaps)
    seeds = max(seeds_of_average, needed)
    return f"about {seeds:.0f} seeds on these splits" if seeds <= MOST_SEEDS else TOO_MANY_SEEDS


def _average(columns: Scores) -> Points:
    """Average several scores of each run, over the settings and runs that have all of them."""
    found = {}
    for name in next(iter(columns.values())):
        series = {column: points[name] for column, points in columns.items() if name in points}
        if len(series) == len(columns):
            keys = common_keys(series)
            found[name] = {key: fmean(s[key] for s in series.values()) for key in keys}
    return found


def _mean(series: Series) -> str:
    mean = fmean(series.values())
    return f"{mean:.1f}" if abs(mean) >= 10 else f"{mean:.3g}"


def _against(points: Points, gaps: Mapping[str, Difference], names: Iterable[str]) -> str:
    return ", ".join(f"{name}: {_mean(points[name])} ({_gap(gaps[name])})" for name in names)


def _gap(gap: Difference) -> str:
    mean, margin = round(gap.mean, 6), gap.margin()  # 1.55 of figures with one decimal stays 1.55
    told = f"{mean:+.1f}" if abs(mean) >= 1 else f"{mean:+.2g}"
    return told + (f" ± {margin:.2g}" if isfinite(margin) else "")
