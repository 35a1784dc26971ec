"""Runs that may be in one table: of one folder, kind and data set, with features of one kind."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from anticipate.catalog import data_sets
from anticipate.figures.noise import Series
from anticipate.lab.report.runs import Run
from anticipate.lab.studies import Study, in_order, studies, study_of
from anticipate.protocol.measures import MAIN_MEASURES


class Group(NamedTuple):
    """Comparable runs."""

    root: Path
    kind: str
    dataset: str
    synthetic: bool
    runs: tuple[Run, ...]
    stem: str
    """Start of the names of its files."""
    caveat: str = ""
    """Why its results are not those of a model on its own data; empty where they are."""
    place: str = ""
    """Folder of its runs, where another group differs in nothing else; else empty."""

    @property
    def title(self) -> str:
        """Data set and kind of features."""
        features = "synthetic features" if self.synthetic else "real features"
        known = data_sets().get(self.dataset)
        name = known.title if known else self.dataset
        return ", ".join(filter(None, (name, features, self.caveat, self.place)))

    @property
    def measures(self) -> list[str]:
        """The main scores of the kind that its runs have."""
        known = {name for run in self.runs for name in run.values}
        return [name for name in MAIN_MEASURES.get(self.kind, ()) if name in known]

    def by_name(self) -> dict[str, list[Run]]:
        """Return the runs by run name: those of no study first, then the points of each."""
        names = sorted(run.name for run in self.runs if not study_of(run.name)[0])
        for study in self.studies():
            names += [f"{study.name}/{point}" for point in self.points(study)]
        return {name: [run for run in self.runs if run.name == name] for name in names}

    def studies(self) -> list[Study]:
        """Return the studies that some run belongs to."""
        present = {study_of(run.name)[0] for run in self.runs}
        return [study for study in studies() if study.name in present]

    def points(self, study: Study) -> dict[str, list[Run]]:
        """Return the runs of each point of a study, in the order of its axis."""
        runs: dict[str, list[Run]] = {}
        for run in self.runs:
            name, point = study_of(run.name)
            if name == study.name:
                runs.setdefault(point, []).append(run)
        return {point: runs[point] for point in in_order(study, runs)}

    def scores(self, study: Study) -> dict[str, dict[str, Series]]:
        """Return the scores of a study by measure and point; where a point has none, it lacks."""
        points = self.points(study)
        names = dict.fromkeys(name for runs in points.values() for r in runs for name in r.values)
        found = {name: {p: series(runs, name) for p, runs in points.items()} for name in names}
        return {
            name: {point: values for point, values in by_point.items() if values}
            for name, by_point in found.items()
        }


def series(runs: Iterable[Run], measure: str) -> dict[tuple[str, int], float]:
    """Return a score by split and seed, of the runs that have it."""
    return {run.key: run.values[measure] for run in runs if measure in run.values}


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """Put comparable runs together: real features first, then by kind, data set and folder.

    Results with a caveat come last, in groups of their own.
    """
    groups: dict[tuple[str, bool, str, str, Path], list[Run]] = {}
    for run in runs:
        facts = run.metrics
        caveat = (facts.get("caveat") or "").partition(":")[0]
        key = (caveat, bool(facts["synthetic"]), facts["kind"], facts["dataset"], run.root)
        groups.setdefault(key, []).append(run)
    ordered = sorted(groups)
    stems = [_stem(*key) for key in ordered]
    found = [
        Group(root, kind, dataset, synthetic, tuple(groups[key]), _numbered(stems, place), caveat)
        for place, key in enumerate(ordered)
        for caveat, synthetic, kind, dataset, root in (key,)
    ]
    titles = [group.title for group in found]
    return [
        group._replace(place=f"runs of {group.root}") if titles.count(group.title) > 1 else group
        for group in found
    ]


def _stem(caveat: str, synthetic: bool, _: str, dataset: str, *__: object) -> str:
    words = (dataset, "synthetic" if synthetic else "real", caveat.replace(" ", "_"))
    return "_".join(filter(None, words))


def _numbered(stems: list[str], place: int) -> str:
    """Return a stem, with a number from its second occurrence on."""
    before = stems[:place].count(stems[place])
    return f"{stems[place]}_{before + 1}" if before else stems[place]
