"""The studies of the papers: which settings they compare and where they are printed."""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

DENSE_MEASURE, DENSE_MEAN = "0.3/top1_moc/0.5", "0.3/mean_moc/0.5"
"""The papers' setting of the ablations: observation .3, horizon .5 (inferred from Tab. 1 and 4,
which agree there)."""

MAIN_MEASURES = {
    "dense": (DENSE_MEASURE, DENSE_MEAN),
    "short_term": ("overall/action", "overall/action/top5", "overall/action/recall"),
}
"""Scores that stand for a run, by kind; those that its protocol has."""


class Study(NamedTuple):
    """Runs that differ in one setting."""

    name: str
    """Folder of its experiment files, first part of its run names."""
    title: str
    kind: Literal["dense", "short_term"]
    source: str
    """Where the papers show it; empty where they do not."""
    points: tuple[str, ...]
    """Its settings in the order of the axis."""
    default: str
    """The setting of the complete model."""


STUDIES = (
    Study(
        "experts",
        "Experts per block",
        "dense",
        "MixANT Fig. 3a",
        tuple(map(str, range(1, 9))),
        "5",
    ),
    Study(
        "static_blocks",
        "Static blocks before the mixture",
        "dense",
        "MixANT Fig. 3b, Tab. 4",
        tuple(map(str, range(7))),
        "3",
    ),
    Study("router", "Router", "dense", "MixANT Fig. 4", ("unified", "independent"), "unified"),
    Study(
        "balancing",
        "Weight of load balancing",
        "dense",
        "MixANT Fig. 4, 5, 8",
        ("none", "0.05", "0.1", "0.15", "0.2", "0.25"),
        "0.1",
    ),
    Study(
        "routing_context",
        "Frames that the router sees",
        "dense",
        "MixANT Fig. 7",
        ("observed", "full"),
        "observed",
    ),
    Study(
        "selection",
        "Selection of the expert",
        "dense",
        "",
        ("straight_through", "literal", "soft"),
        "straight_through",
    ),
    Study(
        "forget_gate",
        "Forget gate A",
        "dense",
        "MixANT Tab. 3",
        ("single", "mixture", "mlp", "query_key"),
        "mixture",
    ),
    Study(
        "denoiser",
        "Denoiser",
        "dense",
        "MixANT Tab. 3",
        ("mixant", "transformer_15", "transformer_18"),
        "mixant",
    ),
    Study(
        "aga_ema",
        "Weight of the newest prediction in the query",
        "short_term",
        "AGA, ablations",
        ("0.2", "0.4", "0.6", "0.8", "1.0", "last", "lstm"),
        "0.8",
    ),
    Study(
        "aga_attention",
        "Source of query and key",
        "short_term",
        "AGA, ablations",
        ("action_guided", "visual"),
        "action_guided",
    ),
    Study(
        "aga_gate",
        "Gate between history and frame",
        "short_term",
        "AGA, ablations",
        ("elementwise", "scalar", "none", "history"),
        "elementwise",
    ),
    Study(
        "aga_queue",
        "Length of the queue",
        "short_term",
        "",
        ("1", "2", "5", "10", "20", "30"),
        "30",
    ),
    Study(
        "aga_space",
        "Query and key: probabilities, logits or the likeliest action",
        "short_term",
        "",
        ("probs_logits", "probs_probs", "logits_logits", "logits_probs", "top1"),
        "probs_logits",
    ),
    Study(
        "aga_perturbation",
        "Past predictions replaced by noise",
        "short_term",
        "",
        ("0", "3", "6", "12", "24", "block_12"),
        "0",
    ),
)
"""Every study, in the order of the report."""


def study_of(run_name: str) -> tuple[str, str]:
    """Return study and point of a run name; the study is empty where the run is of none."""
    study, _, point = run_name.partition("/")
    return (study, point) if point and study in {one.name for one in STUDIES} else ("", run_name)


def in_order(study: Study, found: Iterable[str]) -> list[str]:
    """Return the points that were found: the known ones as they are listed, then the others."""
    found = set(found)
    known = [point for point in study.points if point in found]
    return known + sorted(found - set(known), key=_natural)


def position(point: str) -> float | None:
    """Return where a point lies on an axis of numbers; `none` is 0, other words lie nowhere."""
    if point == "none":
        return 0.0
    return float(point) if re.fullmatch(r"\d+(\.\d+)?", point) else None


def _natural(point: str) -> list[tuple[int, float, str]]:
    parts = re.split(r"(\d+(?:\.\d+)?)", point)
    return [(0, float(p), "") if p[:1].isdigit() else (1, 0.0, p) for p in parts if p]
