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
from math import isfinite
from statistics import fmean
from typing import Any, NamedTuple

from anticipate.figures.noise import (
    MOST_SEEDS,
    Difference,
    Series,
    common_keys,
    difference,
    summarize,
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
TOO_MANY_SEEDS = f"more than {MOST_SEEDS} seeds: no difference that matters"
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
    columns = [claim["measure"]] if "measure" in claim else EVERYWHERE[study.task]
    criteria: dict[str, Callable[[Any], Callable[[Scores], Finding]]] = {
        "higher": lambda points: higher(points[0], points[1], measure),
        "best": lambda point: best(point, measure),
        "inside": lambda _: inside(measure),
        "everywhere": lambda points: everywhere(
            points[0], points[1], columns, claim.get("but", ())
        ),
        "flat": lambda points: flat(points, measure, claim["factor"]),
    }
    (kind,) = criteria.keys() & claim.keys()
    found = Claim(claim["source"], claim["text"], criteria[kind](claim[kind]), measure)
    printed = published.scores(study.data, found.source, study.methods)
    return found._replace(published=claim.get("published") or judge(found, printed).measured)


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


def best(point: str, measure: str = DENSE_TOP1) -> Callable[[Scores], Finding]:
    """Claim that a setting is best: no other is better, and it beats both ends of the axis."""

    def check(scores: Scores) -> Finding:
        points = _measured(scores, measure, point)
        gaps = {name: difference(points[point], points[name]) for name in points if name != point}
        if not gaps:
            raise _MissingError("other settings")
        ends = [name for name in (next(iter(points)), list(points)[-1]) if name != point]
        other = min(gaps, key=lambda name: gaps[name].mean)
        told = dict.fromkeys((other, *ends))
        text = f"{point}: {_mean(points[point])}; best other {_against(points, gaps, told)}"
        verdict = _verdict(list(gaps.values()))
        if verdict in (Verdict.YES, Verdict.UNDECIDED):
            on_top = all(gap.mean >= 0 for gap in gaps.values())
            clear = _verdict([gaps[end] for end in ends]) is Verdict.YES
            verdict = Verdict.YES if on_top and clear else Verdict.UNDECIDED
        deciding = (name for name in gaps if gaps[name].mean <= 0 or name in ends)
        return _finding([gaps[name] for name in deciding], text, verdict)

    return check


def inside(measure: str = DENSE_TOP1) -> Callable[[Scores], Finding]:
    """Claim that the optimum lies between the ends of the axis.

    The best setting inside is chosen by the scores that it is judged by, so that it has to be as
    much clearer as there are settings to choose from.
    """

    def check(scores: Scores) -> Finding:
        points = _measured(scores, measure)
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
        return _finding(gaps, text, verdict, least=mean.seeds())

    return check


def flat(points: Sequence[str], measure: str, factor: float) -> Callable[[Scores], Finding]:
    """Claim that a cost hardly changes: its largest mean is at most `factor` times its least."""

    def check(scores: Scores) -> Finding:
        found = _measured(scores, measure)
        means = {name: summarize(found[name]).mean for name in points if name in found}
        if len(means) < 2:
            raise _MissingError(f"two of {', '.join(points)}")
        ratio = max(means.values()) / min(means.values())
        text = f"largest / least = {ratio:.2f} (criterion: at most {factor})"
        return Finding(Verdict.YES if ratio <= factor else Verdict.NO, text, "")

    return check


def _measured(scores: Scores, measure: str, *needed: str) -> Points:
    """Return all settings with the runs that they have in common."""
    points = scores.get(measure, {})
    missing = [name for name in needed if name not in points]
    if missing:
        raise _MissingError(" and ".join(missing))
    keys = common_keys(points)
    if not keys:
        raise _MissingError("all settings with the same split and seed")
    return {name: {key: series[key] for key in keys} for name, series in points.items()}


def _compare(scores: Scores, measure: str, better: str, worse: str) -> tuple[Difference, str]:
    pair = {name: one for name, one in scores.get(measure, {}).items() if name in (better, worse)}
    points = _measured({measure: pair}, measure, better, worse)
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
    least: float = 0.0,
) -> Finding:
    verdict = verdict or _verdict(gaps, chosen_from)
    return Finding(verdict, text, _next_step(verdict, gaps, chosen_from, least))


def _next_step(verdict: Verdict, gaps: Sequence[Difference], chosen_from: int, least: float) -> str:
    """Say how many seeds would decide a claim: one clear loss refutes it, else all must be won.

    The largest of many losses is large by chance, too: `least` is the number for their average.
    """
    if verdict in (Verdict.YES, Verdict.NO):
        return ""
    if min(gap.num_runs for gap in gaps) < LEAST_RUNS:
        return THREE_SEEDS
    lost = [gap.seeds(len(gaps)) for gap in gaps if gap.mean <= 0]
    seeds = max(least, min(lost) if lost else max(gap.seeds(chosen_from) for gap in gaps))
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
