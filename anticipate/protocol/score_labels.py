"""`anticipate score labels`: what the protocol gives away, by baselines that see labels alone.

How much it helps to know the length of a video, at horizons in shares of it and in seconds; and how
far mistakes in the labels of the observed part limit whatever continues them.
"""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from anticipate.console import CommandParser, at_least_one, print_json
from anticipate.datasets.file.dense_file import DenseStore
from anticipate.figures.curves_figure import CurvesPanel, curves_figure
from anticipate.figures.style import save_figure
from anticipate.horizons import ratio_name
from anticipate.protocol.dense_scores import PRED_RATIOS
from anticipate.protocol.label_studies import (
    ACCURACIES,
    CONFUSED,
    RECOGNISED,
    SECONDS,
    LabelledSplit,
    score_known_length,
    score_recognition,
)
from anticipate.protocol.measures import DENSE_MEASURES

OBS_RATIOS = (0.2, 0.3)
UNITS = {
    "share": ("horizon (share of the video)", PRED_RATIOS),
    "seconds": ("horizon (s)", SECONDS),
}
TITLES = {name: DENSE_MEASURES[name].title for name in ("mean_moc", "top1_moc")}


def add_arguments(parser: CommandParser) -> None:
    """Declare the options of `anticipate score labels`."""
    parser.add_argument("--data", required=True, metavar="FILE.h5", help="the prepared data file")
    parser.add_argument("--split", required=True, metavar="N", help="whose test videos are scored")
    parser.add_argument(
        "--samples", type=at_least_one, default=25, metavar="N", help="futures of the tri-gram (25)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the futures (0)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for the figures")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: Namespace) -> None:
    """Score the baselines, print tables or a document, and draw the figures."""
    with DenseStore(options.data) as store:
        split = LabelledSplit.read(store, options.split)
        title = f"{store.dataset}, split {options.split}, {len(split.videos)} test videos"
    document: dict[str, Any] = {
        ratio_name(ratio): {
            "known_length": score_known_length(split, ratio, options.samples, options.seed),
            "recognition": {
                confused: score_recognition(split, confused, ratio, options.samples, options.seed)
                for confused in CONFUSED
            },
        }
        for ratio in OBS_RATIOS
    }
    means = averaged(list(document.values()))
    if options.output is not None:
        write_figures(options.output, means, title)
    if options.json:
        horizons = {"pred_ratios": PRED_RATIOS, "seconds": SECONDS, "accuracies": ACCURACIES}
        print_json(document | horizons)
    else:
        for table in (known_length_table(title, means), recognition_table(title, means)):
            Console().print(table)


def averaged(documents: Sequence[Any]) -> Any:
    """Return the means of the lists in documents of equal keys.

    >>> averaged([{"a": [1.0, 2.0]}, {"a": [3.0, 4.0]}])
    {'a': [2.0, 3.0]}
    """
    first = documents[0]
    if isinstance(first, Mapping):
        return {key: averaged([one[key] for one in documents]) for key in first}
    return np.mean(documents, axis=0).tolist()


def known_length_table(title: str, means: Mapping[str, Any]) -> Table:
    """Return what the tri-gram scores by what it is told, a column per horizon."""
    table = _table(f"{title}: tri-gram (ground truth)", "told")
    for heading in (*PRED_RATIOS, *(f"{time:g} s" for time in SECONDS)):
        table.add_column(str(heading), justify="right")
    for measure, name in TITLES.items():
        for told, scores in means["known_length"].items():
            values = [value for unit in UNITS for value in scores[unit][measure]]
            table.add_row(told, name, *(f"{value:.1f}" for value in values))
    return table


def recognition_table(title: str, means: Mapping[str, Any]) -> Table:
    """Return the scores by the accuracy of the observed labels, means over the horizons."""
    table = _table(f"{title}: accuracy of the observed labels", "mistaken for a class", "method")
    for accuracy in ACCURACIES:
        table.add_column(f"{100 * accuracy:.0f} %", justify="right")
    for confused, methods in means["recognition"].items():
        for method, scores in methods.items():
            for measure, values in scores.items():
                name = TITLES.get(measure, f"{measure.replace('_', ' ')} (%)")
                table.add_row(confused, method, name, *(f"{value:.1f}" for value in values))
    return table


def write_figures(folder: Path, means: Mapping[str, Any], title: str) -> None:
    """Draw both studies.

    Args:
        folder: Where to; made if it does not exist.
        means: Scores, means over the observation ratios.
        title: What the data are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = [
        CurvesPanel(
            label,
            TITLES["mean_moc"],
            {
                f"told {told}": np.stack([horizons, scores[unit]["mean_moc"]], 1)
                for told, scores in means["known_length"].items()
            },
        )
        for unit, (label, horizons) in UNITS.items()
    ]
    mistaken = [
        CurvesPanel(
            "observed frames that are recognised (%)",
            heading,
            {
                f"{method}, mistaken for a class {confused}": np.stack(
                    [methods[RECOGNISED]["frames"], methods[method][measure]], 1
                )
                for confused, methods in means["recognition"].items()
                for method in methods
                if method != RECOGNISED
            },
        )
        for measure, heading in TITLES.items()
    ]
    for name, panels, what in (
        ("known_length", known, "the tri-gram, told of the length of the video"),
        ("recognition", mistaken, "observed segments mistaken"),
    ):
        save_figure(curves_figure(panels, f"{title}: {what}"), folder, name)


def _table(title: str, *lead: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.caption = "means over observations of 20 and 30 % of a video"
    for name in (*lead, "measure"):
        table.add_column(name)
    return table
