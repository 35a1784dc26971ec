"""`anticipate explain experts`: experts that a model chooses, and whether activities differ.

Written into the output folder: `usage*.png` (share of the choices by block, MixANT Fig. 5),
`selections*.png` (t-SNE of the selection matrices coloured by activity, Fig. 6), both as SVG too;
`usage.csv`, `selections*.csv`; `experts.json` with numbers: how choices cluster by activity and
what they tell of it (mutual information, also with shuffled activities), how far the routers'
probabilities are from even, and how much larger the error gets where all routers choose one expert.
Of TeSTra's MixMamba, which chooses once for each segment: the same without clusters and t-SNE, with
the action of the segment in place of the activity.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from anticipate.console import CommandParser
from anticipate.errors import DataError
from anticipate.figures.selection_figure import selection_figure
from anticipate.figures.style import save_figure
from anticipate.figures.usage_figure import usage_figure
from anticipate.lab.explain.explain_command import (
    add_run_arguments,
    results_folder,
    write_csv,
    write_json,
)
from anticipate.lab.explain.routing_effect import information
from anticipate.lab.explain.selections import LEAST_VIDEOS, Selections, clustering, embed, select
from anticipate.training.provenance import figure_note

LABELS = {"video": "activity", "segment": "action"}


def main(argv: list[str]) -> None:
    """Explain one checkpoint, or two side by side.

    Args:
        argv: The analysis's name and its options.

    Raises:
        AnticipateError: Any mistake of the user.
    """
    options = _parser().parse_args(argv[1:])
    checkpoints = {"": options.ckpt}
    if options.without is not None:
        checkpoints["_without_balancing"] = options.without
    found = {
        suffix: select(
            ckpt,
            options.data,
            options.split,
            options.obs_ratio,
            options.allow_foreign_checkpoint,
        )
        for suffix, ckpt in checkpoints.items()
    }
    for selections in found.values():
        if len(selections.ids) < LEAST_VIDEOS:
            raise DataError(
                f"{options.data}: {len(selections.ids)} test {selections.kind}s, expected at least "
                f"{LEAST_VIDEOS} to compare: prepare a data file with more"
            )
    with results_folder(options.output) as folder:
        document = {
            "with_balancing" if not suffix else suffix[1:]: _write(
                folder, suffix, selections, checkpoints[suffix]
            )
            for suffix, selections in found.items()
        }
        _write_usage(folder / "usage.csv", found)
        windows = any(selections.kind == "segment" for selections in found.values())
        ratio = None if windows else options.obs_ratio
        write_json(folder / "experts.json", {"obs_ratio": ratio, **document})


def _parser() -> CommandParser:
    parser = CommandParser(prog="anticipate explain experts", description=__doc__)
    add_run_arguments(parser)
    parser.add_argument("--without", type=Path, help="checkpoint trained without load balancing")
    parser.add_argument("--split", help="split whose test videos are used (default: the run's)")
    parser.add_argument(
        "--obs_ratio",
        type=float,
        default=0.3,
        help="observed share of a video (default: 0.3); nothing to TeSTra",
    )
    return parser


def _write(folder: Path, suffix: str, selections: Selections, ckpt: Path) -> dict[str, Any]:
    """Write the figures and selections of one model and return its numbers."""
    note = figure_note(selections.synthetic, selections.caveat)
    title = "Expert usage (%)" + suffix.replace("_", " ")
    save_figure(usage_figure(selections.usage, title, note), folder, f"usage{suffix}")
    plane, found = np.zeros((len(selections.ids), 0)), None
    if selections.groups is not None:
        plane = embed(selections.vectors)
        title = f"Chosen experts{suffix.replace('_', ' ')}, t-SNE"
        figure = selection_figure(plane, selections.labels, title, note)
        save_figure(figure, folder, f"selections{suffix}")
        found = clustering(selections.vectors, selections.labels, selections.groups)
    _write_selections(folder / f"selections{suffix}.csv", selections, plane)
    return {
        "checkpoint": str(ckpt),
        f"num_{selections.kind}s": len(selections.ids),
        "synthetic": selections.synthetic,
        "caveat": selections.caveat or None,
        "largest_share": 100 * float(selections.usage.max(axis=-1).mean()),
        "gamma_spread": selections.gamma_spread,
        **information(selections.chosen, selections.labels)._asdict(),
        **selections.cost._asdict(),
        **(found._asdict() if found else {"silhouette": None, "knn_accuracy": None}),
    }


def _write_selections(
    path: Path, selections: Selections, plane: Float[np.ndarray, "items axes"]
) -> None:
    items, blocks, routers = selections.chosen.shape
    names = [f"block{b + 1}_router{r + 1}" for b in range(blocks) for r in range(routers)]
    chosen = (selections.chosen.reshape(items, -1) + 1).tolist()
    rows = zip(selections.ids, selections.labels, plane.tolist(), chosen, strict=True)
    write_csv(
        path,
        [selections.kind, LABELS[selections.kind], *"xy"[: plane.shape[1]], *names],
        ([name, label, *point, *experts] for name, label, point, experts in rows),
    )


def _write_usage(path: Path, found: dict[str, Selections]) -> None:
    rows = (
        [suffix[1:] or "with_balancing", block + 1, router + 1, expert + 1, share]
        for suffix, selections in found.items()
        for (block, router, expert), share in np.ndenumerate(selections.usage)
    )
    write_csv(path, ["model", "block", "router", "expert", "share"], rows)
