"""What the papers say about a setting, and whether runs bear it out.

A claim is a set of comparisons "this setting scores higher than that one". It holds when all that
matter are clear of the noise, fails when one is clearly the other way round, and is not decidable
otherwise. With one run per setting the noise is unknown, so only the direction is reported.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from anticipate.figures.noise import Difference, Series, common_keys, difference, summarize
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
    AGREES = "one run each: agrees"
    DISAGREES = "one run each: disagrees"
    MISSING = "not measured"


class Finding(NamedTuple):
    """A verdict and what it rests on."""

    verdict: Verdict
    measured: str


class Claim(NamedTuple):
    """A sentence of a paper about one study."""

    source: str
    text: str
    check: Callable[[Scores], Finding]


def claims_of(study: Study) -> list[Claim]:
    """Return the claims of a study.yaml: source, text and one criterion each.

    The criterion is one of `higher: [better, worse]`, `best: point`, `inside: true`,
    `everywhere: [better, worse]`, optionally with `but`, and `flat: [points]` with `factor`;
    `measure` is the path of a score or cost, by default the main one of the task; for `everywhere`
    it is one of `EVERYWHERE`, by default all of the task. `read_study` has seen that they are
    whole.
    """
    return [_read_claim(claim, study.task) for claim in study.claims]


def _read_claim(claim: Mapping[str, Any], task: str) -> Claim:
    measure = claim.get("measure", MAIN_MEASURES[task][0])
    columns = [claim["measure"]] if "measure" in claim else EVERYWHERE[task]
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
    return Claim(claim["source"], claim["text"], criteria[kind](claim[kind]))


def judge(claim: Claim, scores: Scores) -> Finding:
    """Check a claim on the scores of its study.

    Args:
        claim: What is claimed.
        scores: Scores by measure and setting.

    Returns:
        `Verdict.MISSING` where a setting was not run or has no score of the kind.
    """
    try:
        return claim.check(scores)
    except _MissingError as missing:
        return Finding(Verdict.MISSING, f"needs runs of: {missing}")


class _MissingError(Exception):
    """A setting that a claim needs and that was not run."""


def higher(better: str, worse: str, measure: str = DENSE_TOP1) -> Callable[[Scores], Finding]:
    """Claim that one setting scores higher than another."""

    def check(scores: Scores) -> Finding:
        points = _pair(scores, measure, better, worse)
        gap = difference(points, better, worse)
        text = f"{_mean(points, better)} against {_mean(points, worse)} ({_gap(gap)})"
        return Finding(_verdict([gap]), text)

    return check


def best(point: str, measure: str = DENSE_TOP1) -> Callable[[Scores], Finding]:
    """Claim that a setting is best: no other is better, and it beats both ends of the axis."""

    def check(scores: Scores) -> Finding:
        points = _measured(scores, measure, (point,))
        others = [name for name in points if name != point]
        if not others:
            raise _MissingError("other settings")
        top = max(points, key=lambda name: _common_mean(points, name))
        gaps = {name: difference(points, point, name) for name in others}
        text = f"best: {top} ({_mean(points, top)}); {point}: {_mean(points, point)}"
        ends = [name for name in (next(iter(points)), list(points)[-1]) if name != point]
        return Finding(_peak(top == point, gaps, ends), text)

    return check


def inside(measure: str = DENSE_TOP1) -> Callable[[Scores], Finding]:
    """Claim that the optimum lies between the ends of the axis."""

    def check(scores: Scores) -> Finding:
        points = _measured(scores, measure, ())
        if len(points) < 3:
            raise _MissingError("at least three settings")
        first, *inner, last = points
        top = max(inner, key=lambda name: _common_mean(points, name))
        gaps = [difference(points, top, end) for end in (first, last)]
        ends = f"{first}: {_mean(points, first)}, {last}: {_mean(points, last)}"
        return Finding(_verdict(gaps), f"best inside: {top} ({_mean(points, top)}); {ends}")

    return check


def everywhere(
    better: str,
    worse: str,
    columns: Sequence[str] = EVERYWHERE["dense"],
    but: Collection[str] = (),
) -> Callable[[Scores], Finding]:
    """Claim that one setting scores higher in every column that the papers print of some measures.

    These are all ratios and horizons, or all subsets of the clips but those of seen participants;
    without the columns `but`.
    """

    def check(scores: Scores) -> Finding:
        parts = {name: name.split("/") for name in scores if name not in but}
        names = [name for name, part in parts.items() if part[1] in columns and part[0] != "seen"]
        if not names:
            raise _MissingError(f"{better} and {worse}")
        gaps = [difference(_pair(scores, name, better, worse), better, worse) for name in names]
        won = sum(gap.mean > 0 for gap in gaps)
        mean = sum(gap.mean for gap in gaps) / len(gaps)
        return Finding(_verdict(gaps), f"higher in {won} of {len(gaps)}; on average {mean:+.1f}")

    return check


def flat(points: Sequence[str], measure: str, factor: float) -> Callable[[Scores], Finding]:
    """Claim that a cost hardly changes: its largest mean is at most `factor` times its least."""

    def check(scores: Scores) -> Finding:
        found = _measured(scores, measure, ())
        means = {name: summarize(found[name]).mean for name in points if name in found}
        if len(means) < 2:
            raise _MissingError(f"two of {', '.join(points)}")
        ratio = max(means.values()) / min(means.values())
        text = f"largest / least = {ratio:.2f} (criterion: at most {factor})"
        return Finding(Verdict.YES if ratio <= factor else Verdict.NO, text)

    return check


def _measured(scores: Scores, measure: str, needed: Sequence[str]) -> Points:
    points = scores.get(measure, {})
    missing = [name for name in needed if name not in points]
    if missing:
        raise _MissingError(" and ".join(missing))
    if not common_keys(points):
        raise _MissingError("all settings with the same split and seed")
    return points


def _pair(scores: Scores, measure: str, *names: str) -> Points:
    """Return all settings, from which the noise is known best, or the two that have more runs."""
    known = scores.get(measure, {})
    pair = {name: known[name] for name in names if name in known}
    if len(common_keys(pair)) > len(common_keys(known)):
        return _measured({measure: pair}, measure, names)
    return _measured(scores, measure, names)


def _verdict(gaps: Sequence[Difference]) -> Verdict:
    if any(gap.margin is None for gap in gaps):
        return Verdict.AGREES if all(gap.mean > 0 for gap in gaps) else Verdict.DISAGREES
    if any(gap.mean < -(gap.margin or 0.0) for gap in gaps):
        return Verdict.NO
    decided = all(gap.mean > (gap.margin or 0.0) for gap in gaps)
    return Verdict.YES if decided else Verdict.UNDECIDED


def _peak(on_top: bool, gaps: Mapping[str, Difference], ends: Sequence[str]) -> Verdict:
    verdict = _verdict(list(gaps.values()))
    if verdict in (Verdict.NO, Verdict.AGREES, Verdict.DISAGREES):
        return verdict
    at_ends = _verdict([gaps[end] for end in ends])
    return Verdict.YES if on_top and at_ends is Verdict.YES else Verdict.UNDECIDED


def _common_mean(points: Points, name: str) -> float:
    keys = common_keys(points)
    return sum(points[name][key] for key in keys) / len(keys)


def _mean(points: Points, name: str) -> str:
    mean = _common_mean(points, name)
    return f"{mean:.1f}" if abs(mean) >= 10 else f"{mean:.3g}"


def _gap(gap: Difference) -> str:
    return f"{gap.mean:+.2g}" + (f" ± {gap.margin:.2g}" if gap.margin is not None else "")
