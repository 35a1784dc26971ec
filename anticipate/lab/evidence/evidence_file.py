"""`evidence.json`: scores, costs and verdicts of every run, small enough to be committed.

Scores of dense methods are means over observation ratios and horizons. One line per run, so that
two files can be compared line by line.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from anticipate import __version__
from anticipate.console import finite
from anticipate.lab.evidence.evidence_plan import Part
from anticipate.lab.report.claims import Verdict
from anticipate.lab.report.judged_claims import claims_document
from anticipate.lab.report.run_groups import group_runs
from anticipate.lab.report.runs import Run, scores_of
from anticipate.machine import cpu_name
from anticipate.protocol.measures import DENSE_MEASURES

FILE = Path("experiments/evidence.json")
DECIMALS = 4
KEYS = {"machine", "parts", "claims", "labels"}
RUN_KEYS = {"run", "split", "seed", "cpu_seconds", "scores"}


def document(
    found: Mapping[Part, Sequence[Run]], seconds: float, labels: Mapping[str, Any]
) -> dict[str, Any]:
    """Return all that runs and label studies show.

    Args:
        found: The finished runs of each part.
        seconds: What `seconds_of_work` says here.
        labels: Documents of the label studies.
    """
    return {
        "version": __version__,
        "machine": {"cpu": cpu_name(), "seconds_of_work": round(seconds, 4)},
        "parts": {
            part.name: {
                "title": part.title,
                "sweep": " ".join(part.sweep.split()),
                "runs": [_run(run) for run in sorted(runs, key=lambda run: (run.name, run.key))],
            }
            for part, runs in found.items()
        },
        "claims": _claims(found),
        "labels": _rounded(labels),
    }


def fault_of(evidence: Any) -> str | None:
    """Say what makes something none of the documents of `document`; None where it is one."""
    try:
        lacking = sorted(KEYS - evidence.keys())
        if lacking:
            return f"lacks {', '.join(lacking)}"
        if not evidence["machine"]["seconds_of_work"] > 0:
            return "holds no seconds_of_work above 0"
        for run in (run for part in evidence["parts"].values() for run in part["runs"]):
            if not (run.keys() >= RUN_KEYS and isinstance(run["cpu_seconds"] or 0, int | float)):
                return f"holds a run without {', '.join(sorted(RUN_KEYS))}: {run}"
    except (AttributeError, KeyError, TypeError) as error:
        return f"is of another form ({type(error).__name__}: {error})"
    return None


def contents(evidence: Mapping[str, Any]) -> set[str]:
    """Return a name for every run and for every result of the label studies."""
    runs = {
        f"{run['run']} of {part}, split {run['split']}, seed {run['seed']}"
        for part, one in evidence["parts"].items()
        for run in one["runs"]
    }
    return runs | {
        f"{result} of the label study {name}"
        for name, one in evidence["labels"].items()
        for result in one
    }


def _run(run: Run) -> dict[str, Any]:
    costs = run.metrics.get("efficiency") or {}
    return {
        "run": run.name,
        "split": run.metrics["split"],
        "seed": run.metrics["seed"],
        "cpu_seconds": costs.get("cpu_seconds"),
        "scores": {
            method: _rounded(over_settings(run.metrics["kind"], scores_of(scores)))
            for method, scores in run.metrics["scores"].items()
        },
    }


def over_settings(kind: str, scores: Mapping[str, float]) -> dict[str, float]:
    """Return dense scores as means over observation ratios and horizons, others as they are.

    >>> over_settings("dense", {"0.2/mof/0.1": 50.0, "0.3/mof/0.1": 60.0, "0.2/mean_moc/0.1": 40.0})
    {'mean_moc': 40.0, 'mof': 55.0}
    """
    if kind != "dense":
        return dict(scores)
    values = {
        measure: [value for path, value in scores.items() if path.split("/")[1] == measure]
        for measure in DENSE_MEASURES
    }
    return {measure: fmean(found) for measure, found in values.items() if found}


def _claims(found: Mapping[Part, Sequence[Run]]) -> list[dict[str, Any]]:
    """Return the verdicts of each part; a claim that another part judges is not missing here."""
    claims = [
        {"part": part.name, **claim}
        for part, runs in found.items()
        for claim in claims_document(group_runs(runs))
    ]
    judged = {(c["study"], c["claim"]) for c in claims if c["verdict"] != Verdict.MISSING}
    return [
        claim
        for claim in claims
        if claim["verdict"] != Verdict.MISSING or (claim["study"], claim["claim"]) not in judged
    ]


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, DECIMALS) if isinstance(value, float) else value


def to_text(value: Any, levels: int = 4) -> str:
    """Write a document as JSON: a line for each item down to some level, deeper ones in one line.

    >>> print(to_text({"a": {"b": [1, 2]}}, levels=1))
    {
    "a": {"b": [1, 2]}
    }
    """
    if levels == 0 or not value or not isinstance(value, dict | list):
        return json.dumps(finite(value), ensure_ascii=False)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    pairs = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    lines = [
        ("" if key is None else f"{json.dumps(key)}: ") + to_text(item, levels - 1)
        for key, item in pairs
    ]
    return f"{opening}\n" + ",\n".join(lines) + f"\n{closing}"
