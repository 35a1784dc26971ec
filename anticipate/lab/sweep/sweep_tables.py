"""Tables of a sweep: what it would do, and what came out."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from anticipate.lab.sweep.main_scores import Scores, Summary, summarise
from anticipate.lab.sweep.plan import Planned


def plan_table(planned: Sequence[Planned]) -> Table:
    """Return the table of a dry run: what there is to do about each run."""
    table = Table("run", "to do")
    for run, step, same_as in planned:
        what = f"same as {same_as.relative_to(run.run_dir)}" if same_as else step
        table.add_row(str(run.folder.relative_to(run.run_dir)), what)
    return table


def summary_table(scores: Mapping[str, Sequence[Scores]]) -> Table:
    """Return the table of mean and spread over splits and seeds, a row per experiment.

    Args:
        scores: Those of the finished runs, by name of the experiment.
    """
    summaries = {name: summarise(runs) for name, runs in scores.items()}
    measures = list(dict.fromkeys(measure for row in summaries.values() for measure in row))
    table = Table("experiment", "runs", *measures)
    table.caption = "percent, mean ± standard deviation over splits and seeds"
    for name, row in summaries.items():
        table.add_row(name, str(len(scores[name])), *(_cell(row.get(m)) for m in measures))
    return table


def document(
    planned: Sequence[Planned], scores: Sequence[Scores | None]
) -> dict[str, list[dict[str, Any]]]:
    """Return all runs and the mean and spread of each experiment as a JSON document.

    Args:
        planned: The runs.
        scores: Those of each run; None for one that is not finished.
    """
    runs = [
        {
            "run_name": run.name,
            "split": run.split,
            "seed": run.seed,
            "folder": str(run.folder),
            "same_as": str(same_as) if same_as else None,
            "scores": found,
        }
        for (run, _, same_as), found in zip(planned, scores, strict=True)
    ]
    experiments = [
        {"run_name": name, "scores": {key: row._asdict() for key, row in summarise(found).items()}}
        for name, found in by_experiment(planned, scores).items()
    ]
    return {"runs": runs, "experiments": experiments}


def by_experiment(
    planned: Sequence[Planned], scores: Sequence[Scores | None]
) -> dict[str, list[Scores]]:
    """Return the scores of the finished runs by name of the experiment."""
    groups: dict[str, list[Scores]] = {}
    for (run, _, _), found in zip(planned, scores, strict=True):
        if found is not None:
            groups.setdefault(run.name, []).append(found)
    return groups


def _cell(summary: Summary | None) -> str:
    if summary is None:
        return ""
    spread = "" if summary.spread is None else f" ± {summary.spread:.2f}"
    return f"{summary.mean:.2f}{spread}"
