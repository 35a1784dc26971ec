"""What runs say about every claim of the papers, as rows for the page, tables and documents."""

from collections.abc import Iterable
from typing import NamedTuple

from anticipate.lab.report.claims import Claim, Scores, Verdict, claims_of, judge
from anticipate.lab.report.run_groups import Group
from anticipate.lab.studies import Study


class JudgedClaim(NamedTuple):
    """A claim about a study and what the runs of a group say."""

    study: str
    data: str
    """Title of the group: data set and kind of features."""
    source: str
    claim: str
    published: str
    """What the paper prints for it; empty where it prints nothing."""
    measured: str
    """The same of the runs; empty where it was not measured."""
    verdict: Verdict
    decides: str
    """What would decide it."""


def judge_claims(group: Group) -> list[JudgedClaim]:
    """Check every claim about the studies of a group.

    Of a data set that is itself invented there are no real features, which would decide more.
    """
    return [
        _judged(group, study, claim, scores)
        for study in group.studies()
        for scores in (group.scores(study),)
        for claim in claims_of(study)
    ]


def _judged(group: Group, study: Study, claim: Claim, scores: Scores) -> JudgedClaim:
    synthetic = group.synthetic and not study.data.startswith("synthetic")
    found = judge(claim, scores, synthetic)
    return JudgedClaim(
        study.name,
        group.title,
        claim.source,
        claim.text,
        claim.published,
        found.measured,
        found.verdict,
        found.decides,
    )


def claims_document(groups: Iterable[Group]) -> list[dict[str, str]]:
    """Return the judged claims of all groups as plain data, one mapping for each.

    The keys are those of `JudgedClaim`.
    """
    return [
        one._asdict() | {"verdict": one.verdict.value}
        for group in groups
        for one in judge_claims(group)
    ]
