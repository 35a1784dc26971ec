"""Counterfactual pasts as documents: what each step expected before and after."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from anticipate.lab.explain.counterfactual import Counterfactual
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
