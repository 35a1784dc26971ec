"""The tables of the documents, from `evidence.json`: each between two comments that name it.

A table of runs is described in `evidence.yaml`: its part, its columns, and for each row
the run and, for a baseline, the method. The others are functions here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from anticipate.errors import ConfigError
from anticipate.lab.report.grid import Column, Grid, markdown_lines
from anticipate.lab.report.report_tables import ABSENT
from anticipate.protocol.measures import DENSE_MEASURES

Evidence = Mapping[str, Any]
"""Content of `evidence.json`."""

BLOCK = re.compile(r"(<!-- evidence: (\w+) -->\n)(.*?)(<!-- end of \2 -->)", re.DOTALL)
MAJORITY = "majority"
CPU = "cpu_minutes"
TITLES = {name: measure.title for name, measure in DENSE_MEASURES.items()} | {
    MAJORITY: "majority: Mean MoC",
    CPU: "computing (CPU min)",
}


def update(text: str, evidence: Evidence, described: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a document with all its tables of evidence written anew.

    Args:
        text: The document.
        evidence: Content of `evidence.json`.
        described: The tables of runs, by name.

    Raises:
        ConfigError: The document names a table that there is not.
    """

    def table(found: re.Match[str]) -> str:
        before, name, _, after = found.groups()
        if name in described:
            grid = runs_table(evidence, name, **described[name])
        elif name in TABLES:
            grid = TABLES[name](evidence)
        else:
            known = ", ".join([*described, *TABLES])
            raise ConfigError(f"no table '{name}' of evidence: choose from {known}")
        lines = markdown_lines(grid.header, grid.rows, len(grid.lead))
        return before + "\n".join(lines) + f"\n{after}"

    return BLOCK.sub(table, text)


def runs_table(
    evidence: Evidence,
    name: str,
    part: str,
    columns: Sequence[str],
    rows: Mapping[str, Any] | None = None,
    lead: str = "method",
) -> Grid:
    """Return a table with the means over the runs of each row, and their standard deviation.

    Args:
        evidence: Content of `evidence.json`.
        name: That of the table.
        part: Whose runs; a row may name another.
        columns: Names of measures; `majority`, the Mean MoC of the majority of the samples;
            `cpu_minutes`.
        rows: By label, the name of a run, or a mapping with `run` and optionally `method` and
            `part`; without rows, every run of the part.
        lead: Heading of the labels.
    """
    cells = []
    for label, asked in (_all_rows(evidence, part) if rows is None else rows).items():
        row = {"run": asked} if isinstance(asked, str) else asked
        runs = _runs(evidence, row.get("part", part), row["run"])
        method = row.get("method")
        values = [[_value(run, method, column) for run in runs] for column in columns]
        cells.append([label, str(len(runs)), *map(_summary, values, columns)])
    headings = ["runs", *(TITLES.get(one, one.replace("/", " ")) for one in columns)]
    return _grid(name, "", [lead], headings, cells)


def _grid(
    name: str,
    title: str,
    lead: Sequence[str],
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> Grid:
    columns = tuple(Column("", heading) for heading in headings)
    return Grid(f"evidence_{name}", title, tuple(lead), columns, tuple(map(tuple, rows)))


def _all_rows(evidence: Evidence, part: str) -> dict[str, str]:
    return {run["run"]: run["run"] for run in evidence["parts"].get(part, {"runs": []})["runs"]}


def _runs(evidence: Evidence, part: str, name: str) -> list[Mapping[str, Any]]:
    runs = evidence["parts"].get(part, {"runs": []})["runs"]
    return [run for run in runs if run["run"] == name]


def _value(run: Mapping[str, Any], method: str | None, column: str) -> float | None:
    """Return a score or cost of a run; None where it has none, as a baseline has no cost."""
    own = next(iter(run["scores"]))
    if column == CPU:
        return run["cpu_seconds"] / 60 if method is None and run["cpu_seconds"] else None
    if column == MAJORITY:
        method, column = f"{method or own} (majority)", "mean_moc"
    value: float | None = run["scores"].get(method or own, {}).get(column)
    return value


def _summary(values: Sequence[float | None], column: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ABSENT
    decimals = DENSE_MEASURES[column].decimals if column in DENSE_MEASURES else 1
    spread = f" ± {stdev(known):.{decimals}f}" if len({*known}) > 1 and column != CPU else ""
    return f"{fmean(known):.{decimals}f}{spread}"


def claims_table(evidence: Evidence) -> Grid:
    """Return every claim of the papers with the paper's figure, ours, and the verdict."""
    header = ["claim", "shown in", "data", "paper", "measured", "verdict", "what would decide it"]
    keys = ("claim", "source", "data", "published", "measured", "verdict", "decides")
    rows = [[str(claim[key]) or ABSENT for key in keys] for claim in evidence["claims"]]
    return _grid("claims", "Claims of the papers", header, (), rows)


def _mean(document: Mapping[str, Any], *path: str) -> Any:
    """Return the mean over observation ratios of what lies at a path, a number or a list."""
    found = []
    for ratio, one in document.items():
        if not _is_ratio(ratio):
            continue
        for key in path:
            one = one[key] if isinstance(one, Mapping) and key in one else None
        found.append(one)
    if any(one is None for one in found):
        return None
    if isinstance(found[0], list):
        return [fmean(values) for values in zip(*found, strict=True)]
    return fmean(found)


def _is_ratio(key: str) -> bool:
    return key.replace(".", "").isdigit()


def _numbers(values: Sequence[float | None], decimals: int = 1) -> list[str]:
    return [ABSENT if value is None else f"{value:.{decimals}f}" for value in values]


def known_length(evidence: Evidence) -> Grid:
    """Return the Mean MoC of the tri-gram by what it is told of the length of a video."""
    studied = evidence["labels"]["labels"]
    shares, seconds = studied["pred_ratios"], studied["seconds"]
    horizons = [*map(str, shares), *(f"{time:g} s" for time in seconds)]
    told = next(value for key, value in studied.items() if _is_ratio(key))["known_length"]
    rows = [
        [
            f"told {what}",
            *_numbers(
                [
                    value
                    for unit in ("share", "seconds")
                    for value in _mean(studied, "known_length", what, unit, "mean_moc")
                ]
            ),
        ]
        for what in told
    ]
    title = "The known length: Mean MoC of the tri-gram by what it is told"
    return _grid("known_length", title, ["Mean MoC at a horizon of"], horizons, rows)


def recognition(evidence: Evidence) -> Grid:
    """Return the scores of baselines by the share of the observed frames that are right."""
    studied = evidence["labels"]["labels"]
    some = next(value for key, value in studied.items() if _is_ratio(key))["recognition"]
    shown = {
        "observed frames that are right (%)": ("recognised", "frames"),
        "last-label, Mean MoC": ("last-label", "mean_moc"),
        "tri-gram, Mean MoC": ("tri-gram", "mean_moc"),
        "tri-gram, Top-1 MoC of 25": ("tri-gram", "top1_moc"),
    }
    rows = [
        [label, confused, *_numbers(_mean(studied, "recognition", confused, *path))]
        for confused in some
        for label, path in shown.items()
    ]
    asked = [f"{100 * accuracy:.0f} %" for accuracy in studied["accuracies"]]
    title = "Recognition: scores of baselines by mistakes in the observed labels"
    return _grid("recognition", title, ["segments right", "else a class"], asked, rows)


def samples(evidence: Evidence) -> Grid:
    """Return Top-1 MoC by the number of samples."""
    labels = evidence["labels"]
    rows = [
        [name, videos, *_numbers([_mean(one, "top1_moc_by_samples", str(n)) for n in SIZES])]
        for source, videos in (("split_1", "all"), ("futures", "100"))
        for name, one in labels[source].items()
    ]
    lead = ["Top-1 MoC of the best of", "videos"]
    return _grid("samples", "The number of samples", lead, list(map(str, SIZES)), rows)


SIZES = (1, 2, 5, 10, 25, 50, 100)


def reliability(evidence: Evidence) -> Grid:
    """Return how reliable and how realistic futures are, at the longest horizon."""
    columns = {
        "calibration error": ("calibration_error", 3),
        "of the samples": ("calibration_error_of_samples", 3),
        "distance of durations": ("duration_distance", 2),
        "segments of a future": ("segments", 2),
        "true": ("true_segments", 2),
    }
    rows = [
        [
            name,
            videos,
            *(_numbers([_mean(one, key)], decimals)[0] for key, decimals in columns.values()),
        ]
        for source, videos in (("split_1", "all"), ("futures", "100"))
        for name, one in evidence["labels"][source].items()
    ]
    title = "Reliability and realism at the longest horizon"
    return _grid("reliability", title, ["futures of", "videos"], list(columns), rows)


def splits(evidence: Evidence) -> Grid:
    """Return what needs labels alone on each split, with mean and standard deviation."""
    labels, rows = evidence["labels"], []
    numbers = sorted(int(key[6:]) for key in labels if re.fullmatch(r"split_\d+", key))
    uaaa = {run["split"]: run for run in _runs(evidence, "breakfast_splits", "uaaa_breakfast_cpu")}
    for title, size, measure in (("Mean MoC", "1", "mean_moc"), ("Top-1 MoC", "25", "top1_moc")):
        for name, document in labels["split_1"].items():
            if measure == "mean_moc" or _mean(document, "calibration_error_of_samples"):
                documents = [labels[f"split_{number}"][name] for number in numbers]
                values = [_mean(one, "top1_moc_by_samples", size) for one in documents]
                rows.append([f"{name}, {title}", *_over_splits(values)])
        for column in (measure, MAJORITY) if measure == "mean_moc" else (measure,):
            values = [_value(uaaa[n], None, column) if n in uaaa else None for n in numbers]
            name = "UAAA (majority)" if column == MAJORITY else "UAAA"
            rows.append([f"{name} (ground truth), {title}", *_over_splits(values)])
    headings = [*(f"split {n}" for n in numbers), "mean ± standard deviation"]
    title = "What needs labels alone, on every split"
    return _grid("splits", title, ["after the annotation"], headings, rows)


def _over_splits(values: Sequence[float | None]) -> list[str]:
    return [*_numbers(values), _summary(values, "mean_moc")]


LABEL_TABLES: Mapping[str, Callable[[Evidence], Grid]] = {
    "known_length": known_length,
    "recognition": recognition,
    "samples": samples,
    "reliability": reliability,
    "splits": splits,
}
"""Tables of studies that need labels alone."""
TABLES = {"claims": claims_table, **LABEL_TABLES}
"""Tables that are not of runs alone."""
