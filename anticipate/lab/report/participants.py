"""How far recall falls from seen to unseen participants: AGA claims to generalize better.

Groups of videos are compared on the classes that occur in both the seen and the unseen part of the
validation videos. Class-mean recalls over all classes of each group, as they are published, cannot
be subtracted: the few rows of unseen participants hold few of the rare, hard classes.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64
from matplotlib.figure import Figure

from anticipate.figures.participants_figure import GroupRecall, participants_figure
from anticipate.figures.saved import ScoredVideos, Stage, read_scored_videos
from anticipate.files import FIGURES
from anticipate.lab.report.grid import Column, Grid
from anticipate.lab.report.report_figures import ReportFigure
from anticipate.lab.report.report_tables import ABSENT, compared
from anticipate.lab.report.run_groups import Group
from anticipate.lab.report.runs import Run
from anticipate.protocol.video_recalls import (
    DRAWS,
    Recalls,
    balanced,
    interval,
    recall_of,
    resampled_recalls,
)

HELD_OUT, SEEN, UNSEEN = "held out", "seen", "unseen"
"""Held-out training videos, validation videos of the same participants, and of new ones."""
FALLS = ((HELD_OUT, SEEN), (SEEN, UNSEEN))


class Measured(NamedTuple):
    """Recall of one group of videos by one system in one task."""

    shown: GroupRecall
    draws: Float64[np.ndarray, " draws"]


Tasks = dict[str, dict[str, Measured]]
"""Recalls of one system by task and group."""


class ParticipantFigure(ReportFigure):
    """Recalls of participants in the training part, and of new ones, by every short-term system."""

    title = "From seen to unseen participants"
    source = "AGA claims that it generalizes better"

    def draw(self, group: Group) -> Mapping[str, Figure]:
        """Return one figure of all systems whose tests have counted the hits of each video."""
        systems = _systems(group)
        if not systems:
            return {}
        panels = {
            task: {
                name: {place: one.shown for place, one in tasks[task].items()}
                for name, tasks in systems.items()
            }
            for task in next(iter(systems.values()))
        }
        title = "Class-mean top-5 recall on the classes of seen and unseen participants"
        note = "synthetic features" if group.synthetic else ""
        return {f"{group.stem}_participants": participants_figure(panels, title, note)}

    def tables(self, group: Group) -> Sequence[Grid]:
        """Return recalls and falls with their intervals."""
        systems = _systems(group)
        found = {place for tasks in systems.values() for by in tasks.values() for place in by}
        places = [place for place in (HELD_OUT, SEEN, UNSEEN) if place in found]
        falls = [fall for fall in FALLS if found.issuperset(fall)]
        tasks = list(next(iter(systems.values())))
        columns = [
            Column(task, name) for task in tasks for name in (*places, *map(" to ".join, falls))
        ]
        rows = []
        for name, by_task in systems.items():
            cells = []
            for task in tasks:
                cells += [_recall(by_task[task], place) for place in places]
                cells += [_fall(by_task[task], *fall) for fall in falls]
            rows.append((name, *cells))
        title = f"{group.title}: recall of participants in percent, and its fall in points"
        stem = f"{group.stem}_participants"
        return [Grid(stem, title, ("system",), tuple(columns), tuple(rows))]

    def caption(self, group: Group) -> str:
        """Say what is drawn, and how few unseen participants there are."""
        scored = next(filter(None, (_read(runs, "test") for runs in compared(group).values())))[0]
        people = sorted({scored.participants[video] for video in np.flatnonzero(scored.unseen)})
        sizes = (f"{_common(scored, task).sum()} {task}s" for task in scored.rows)
        return (
            f"Means over the classes that seen and unseen participants both have: "
            f"{', '.join(sizes)}. Large marks are all videos of a group, whiskers the 95 % "
            f"interval over {DRAWS:,} draws of its videos, small marks single participants, whose "
            "rows weigh as in the whole group. "
            f"There are only {len(people)} unseen participants with labels "
            f"({', '.join(people)}; {scored.unseen.sum()} videos), so their interval is one over "
            "videos and tells nothing of other people. Held out: training videos that "
            "validation_fraction kept out of the training, where runs have some."
        )


def _systems(group: Group) -> dict[str, Tasks]:
    """Return the systems whose tests have counted by video, then the baselines of the first."""
    systems: dict[str, Tasks] = {}
    baselines: dict[str, Tasks] = {}
    for name, runs in compared(group).items():
        tests = _read(runs, "test")
        if not tests:
            continue
        method, *others = tests[0].hits
        systems[name] = _measure(tests, _read(runs, "val"), method)
        baselines = baselines or {other: _measure(tests, [], other) for other in others}
    return systems | baselines


def _read(runs: Sequence[Run], stage: Stage) -> list[ScoredVideos]:
    """Return what the runs have counted, where it is of the same videos as in the first."""
    found = [read_scored_videos(run.folder / FIGURES, stage) for run in runs]
    counted = [one for one in found if one is not None and (stage == "val" or _comparable(one))]
    return [one for one in counted if one.participants == counted[0].participants]


def _comparable(scored: ScoredVideos) -> bool:
    return all(_common(scored, task).any() for task in scored.rows)


def _common(scored: ScoredVideos, task: str) -> Bool[np.ndarray, " classes"]:
    """Return the classes that occur in rows of seen and of unseen participants."""
    rows = scored.rows[task]
    return rows[scored.unseen].any(axis=0) & rows[~scored.unseen].any(axis=0)


def _measure(tests: Sequence[ScoredVideos], held_out: Sequence[ScoredVideos], method: str) -> Tasks:
    """Return the recalls of one method, whose runs count together."""
    unseen = tests[0].unseen
    measured: Tasks = {}
    for task in tests[0].rows:
        classes = _common(tests[0], task)
        recalls = _summed(tests, method, task, classes)
        measured[task] = {
            SEEN: _group(tests[0], recalls, ~unseen, seed=0),
            UNSEEN: _group(tests[0], recalls, unseen, seed=1),
        }
        if held_out:
            recalls = _summed(held_out, method, task, classes)
            measured[task][HELD_OUT] = _group(held_out[0], recalls, ~held_out[0].unseen, seed=2)
    return measured


def _summed(
    scored: Sequence[ScoredVideos], method: str, task: str, classes: Bool[np.ndarray, " classes"]
) -> Recalls:
    rows = sum(one.rows[task][:, classes] for one in scored)
    hits = sum(one.hits[method][task][:, classes] for one in scored)
    return Recalls(np.asarray(rows), np.asarray(hits))


def _group(
    scored: ScoredVideos, recalls: Recalls, videos: Bool[np.ndarray, " videos"], seed: int
) -> Measured:
    """Return the recall of some videos; a seed of its own makes its draws independent of others."""
    weighed = balanced(recalls, videos)
    draws = resampled_recalls(weighed, seed)
    people = np.array(scored.participants)[videos]
    alone = [recall_of(weighed[:, people == who]) for who in sorted(set(people))]
    shown = GroupRecall(recall_of(weighed), *interval(draws), np.array(alone))
    return Measured(shown, draws)


def _recall(groups: Mapping[str, Measured], place: str) -> str:
    if place not in groups:
        return ABSENT
    recall, low, high, _ = groups[place].shown
    return _with_interval(recall, low, high)


def _fall(groups: Mapping[str, Measured], before: str, after: str) -> str:
    if before not in groups or after not in groups:
        return ABSENT
    fall = groups[before].shown.recall - groups[after].shown.recall
    return _with_interval(fall, *interval(groups[before].draws - groups[after].draws))


def _with_interval(*numbers: float) -> str:
    """Write a number and the ends of its interval, without negative zeros."""
    value, low, high = (f"{round(one, 1) + 0.0:.1f}" for one in numbers)
    return f"{value} [{low}, {high}]"
