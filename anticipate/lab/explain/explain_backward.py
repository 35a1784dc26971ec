"""`anticipate explain backward`: which other past would have made AGA expect another action."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from anticipate.console import CommandParser
from anticipate.datasets.batches.buckets import Draw
from anticipate.datasets.batches.clips import collate_short_term
from anticipate.datasets.batches.subsets import spread_positions
from anticipate.errors import ConfigError
from anticipate.figures.counterfactual_figure import StepChange, counterfactual_figure
from anticipate.figures.style import save_figure
from anticipate.lab.explain.aga_run import AGARun, action_ids, clip_items, load_aga
from anticipate.lab.explain.counterfactual import Counterfactual, Descent, change_past
from anticipate.lab.explain.explain_command import add_run_arguments, results_folder, write_json
from anticipate.types import ShortTermBatch

TOP = 5
"""Likeliest actions that are listed."""


def change_document(
    found: Counterfactual,
    clip: int,
    batch: ShortTermBatch,
    targets: Int[Tensor, " batch"],
    times: Float[np.ndarray, " steps"],
    vocabulary: tuple[str, ...],
) -> dict[str, Any]:
    """Return what changed in one clip, most changed step first.

    Args:
        found: Pasts before and after.
        clip: Row of the clip.
        batch: The clips.
        targets: Action that each clip was led to.
        times: When each step of a clip looks at its video, in seconds from the start of the
            action, negative.
        vocabulary: Name of each action.
    """
    target, kl = int(targets[clip]), found.kl[clip]
    ends = (found.logits_before[clip], found.logits_after[clip])
    before, after = (float(logits.softmax(dim=0)[target]) for logits in ends)
    return {
        "clip": batch.segment_ids[clip],
        "video": batch.video_ids[clip],
        "target": vocabulary[target],
        "success": bool(found.success[clip]),
        "iterations": int(found.iterations[clip]),
        "probability_before": before,
        "probability_after": after,
        "expected": _rankings(*ends, vocabulary),
        "steps": [
            {
                "step": step,
                "time": float(times[step]),
                "kl": float(kl[step]),
                **_rankings(found.before[clip, step], found.after[clip, step], vocabulary),
            }
            for step in kl.argsort(descending=True, stable=True).tolist()
        ],
    }


def summary_document(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return in how many clips the expectation changed, and a line for each of them.

    Args:
        documents: One for each clip. Those that expected their target from the start do not count.
    """
    tried = [document for document in documents if _tried(document)]
    reached = [document for document in tried if document["success"]]
    rate = 100 * len(reached) / len(tried) if tried else float("nan")
    iterations = [document["iterations"] for document in reached]
    return {
        "num_clips": len(documents),
        "num_expected_from_the_start": len(documents) - len(tried),
        "num_reached": len(reached),
        "success_rate": rate,
        "mean_iterations": float(np.mean(iterations)) if iterations else float("nan"),
        "clips": [
            {key: value for key, value in document.items() if key not in ("steps", "expected")}
            for document in documents
        ],
    }


def _tried(document: dict[str, Any]) -> bool:
    return document["iterations"] > 0 or not document["success"]


def _rankings(
    before: Float[Tensor, " actions"],
    after: Float[Tensor, " actions"],
    vocabulary: tuple[str, ...],
) -> dict[str, list[dict[str, Any]]]:
    return {"before": _ranking(before, vocabulary), "after": _ranking(after, vocabulary)}


def _ranking(
    logits: Float[Tensor, " actions"], vocabulary: tuple[str, ...]
) -> list[dict[str, Any]]:
    best = logits.softmax(dim=0).topk(min(TOP, len(logits)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [{"action": vocabulary[action], "probability": prob} for action, prob in pairs]


NUM_SHOWN = 4
"""Most changed steps whose rankings the picture shows, besides the last step's."""
CLIPS_AT_ONCE = 64


def main(argv: list[str]) -> None:
    """Change the past of some clips.

    Args:
        argv: The analysis's name and its options.

    Raises:
        AnticipateError: Any mistake of the user.
    """
    options = _parser().parse_args(argv[1:])
    descent = _descent(options)
    run = load_aga(options.ckpt, options.data, (), options.allow_foreign_checkpoint)
    items = _items(options, run)
    documents = []
    for start in range(0, len(items), CLIPS_AT_ONCE):
        documents += explain_clips(
            run, items[start : start + CLIPS_AT_ONCE], options.target, descent
        )
    with results_folder(options.output) as folder:
        for document in documents if options.clip else ():
            name = f"backward_{document['clip'].replace('/', '_')}"
            write_json(folder / f"{name}.json", document)
            save_figure(_picture(document, run.note), folder, name)
        origin = {
            "checkpoint": str(options.ckpt),
            **run.origin,
            "settings": descent._asdict(),
        }
        write_json(folder / "backward.json", {**origin, **summary_document(documents)})


def explain_clips(
    run: AGARun, items: list[int], target: str | None, descent: Descent
) -> list[dict[str, Any]]:
    """Return what has to change in the past of some clips, a document each.

    Args:
        run: Network and data.
        items: Positions of the clips in the part that the run is scored on.
        target: Action that their last steps shall expect; the one that followed when None.
        descent: How the past is changed.

    Raises:
        ConfigError: An unknown target, or a network or clips that have no past to change.
    """
    dataset = run.data.test_clips
    batch = collate_short_term([dataset[Draw(item, 0)] for item in items])
    targets = _targets(batch, target, run.data.vocabulary)
    found = change_past(run.network, batch.features, targets, descent)
    fps = run.data.store.fps
    times = -run.data.grid.lead_frames(fps) / fps
    return [
        change_document(found, clip, batch, targets, times, run.data.vocabulary)
        for clip in range(len(items))
    ]


def _targets(batch: ShortTermBatch, target: str | None, vocabulary: tuple[str, ...]) -> Tensor:
    if target is not None:
        return torch.full_like(batch.targets, action_ids([target], vocabulary)[0])
    for clip, action in zip(batch.segment_ids, batch.targets.tolist(), strict=True):
        if action < 0:
            raise ConfigError(f"the action after clip '{clip}' is withheld: give a --target")
    return batch.targets


def _items(options: Namespace, run: AGARun) -> list[int]:
    if options.clip is not None:
        return clip_items(list(dict.fromkeys(options.clip)), run.data)
    if options.num_clips < 1:
        raise ConfigError(f"--num_clips is {options.num_clips}: expected 1 or more")
    return list(spread_positions(len(run.data.test_dataset), options.num_clips))


def _picture(document: dict[str, Any], note: str) -> Any:
    by_time = sorted(document["steps"], key=lambda step: step["step"])
    shown = sorted(step["step"] for step in document["steps"][:NUM_SHOWN])
    changes = [_change(by_time[step], f"{by_time[step]['time']:g} s") for step in shown]
    changes.append(_change(document["expected"], "expected next"))
    end = "" if document["success"] else " (not reached)"
    return counterfactual_figure(
        np.array([step["time"] for step in by_time]),
        np.array([step["kl"] for step in by_time]),
        shown,
        changes,
        document["target"],
        f"{document['clip']}: the past that leads to '{document['target']}'{end}",
        note,
    )


def _change(step: dict[str, Any], title: str) -> StepChange:
    rankings = (
        [(entry["action"], entry["probability"]) for entry in step[when]]
        for when in ("before", "after")
    )
    return StepChange(title, *rankings)


def _descent(options: Namespace) -> Descent:
    descent = Descent(
        options.steps, options.lr, options.optimise, options.kl, options.l1, options.last
    )
    for name, least in (("steps", 0), ("kl", 0.0), ("l1", 0.0), ("last", 1)):
        value = getattr(descent, name)
        if value is not None and not least <= value < float("inf"):
            raise ConfigError(f"--{name} is {value}: expected {least} or more")
    if not 0.0 < descent.lr < float("inf"):
        raise ConfigError(f"--lr is {descent.lr}: expected more than 0")
    return descent


def _parser() -> CommandParser:
    parser = CommandParser(prog="anticipate explain backward", description=__doc__)
    add_run_arguments(parser)
    clips = parser.add_mutually_exclusive_group(required=True)
    clips.add_argument("--clip", nargs="+", metavar="ID", help="segments that the clips anticipate")
    clips.add_argument("--num_clips", type=int, help="so many clips, evenly spread, no pictures")
    parser.add_argument(
        "--target", metavar="ACTION", help="what to expect (default: what followed each clip)"
    )
    parser.add_argument("--steps", type=int, default=300, help="most iterations (default: 300)")
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate (default: 0.1)")
    parser.add_argument(
        "--optimise",
        choices=("both", "keys", "query"),
        default="both",
        help="what the changed predictions are used for (default: both)",
    )
    parser.add_argument("--last", type=int, metavar="N", help="only the last N steps may change")
    parser.add_argument(
        "--kl", type=float, default=0.0, help="weight of the change of predictions (default: 0)"
    )
    parser.add_argument(
        "--l1", type=float, default=0.0, help="weight of the change of logits (default: 0)"
    )
    return parser
