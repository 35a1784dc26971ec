"""What a test draws, as JSON next to the pictures, from which a report draws several runs."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Integer

from anticipate.console import notice
from anticipate.segments import Segments
from anticipate.types import NO_LABEL

Content = TypeVar("Content")

TRUTH = "ground truth"
"""Row of the annotation in a timeline."""
USAGE = "expert_usage"
"""Name of the figure of the experts that the routers chose in the test."""


class Timeline(NamedTuple):
    """Label sequences of one video."""

    video_id: str
    obs_ratio: float
    observed_frames: int
    fps: float
    classes: tuple[str, ...]
    rows: dict[str, Integer[np.ndarray, "_"]]
    """Class of each frame by the name of the row; the first row is `TRUTH`."""


def timeline_name(video_id: str, obs_ratio: float) -> str:
    """Return the stem of the files of a timeline."""
    return f"timeline_{video_id.replace('/', '_')}_obs{obs_ratio}"


def write_timeline(folder: Path, timeline: Timeline) -> None:
    """Write a timeline as runs of equal labels, with the names of the classes that occur."""
    rows = {name: Segments.from_frames(labels) for name, labels in timeline.rows.items()}
    occurring = sorted({int(label) for runs in rows.values() for label in runs.labels})
    document = {
        **timeline._asdict(),
        "classes": {str(n): timeline.classes[n] for n in occurring if n != NO_LABEL},
        "num_classes": len(timeline.classes),
        "rows": {
            name: [[int(label), int(length)] for label, length in zip(*runs, strict=True)]
            for name, runs in rows.items()
        },
    }
    name = timeline_name(timeline.video_id, timeline.obs_ratio)
    (folder / f"{name}.json").write_text(json.dumps(document) + "\n")


def read_timelines(folder: Path) -> list[Timeline]:
    """Return the timelines that a folder holds, by name; none where it does not exist."""
    files = sorted(folder.glob("timeline_*.json"))
    return [timeline for path in files if (timeline := _read(path, _timeline)) is not None]


def write_usage(folder: Path, usage: Float[np.ndarray, "blocks routers experts"]) -> None:
    """Write how often the routers chose each expert."""
    (folder / f"{USAGE}.json").write_text(json.dumps({"usage": usage.tolist()}) + "\n")


def read_usage(folder: Path) -> Float[np.ndarray, "blocks routers experts"] | None:
    """Return how often the routers chose each expert, None where the folder does not have it."""
    path = folder / f"{USAGE}.json"
    return _read(path, _usage) if path.is_file() else None


class ScoredVideos(NamedTuple):
    """How often the true class was among the first five, by video: short-term anticipation."""

    participants: tuple[str, ...]
    """Who recorded each video."""
    unseen: Bool[np.ndarray, " videos"]
    """Whether nothing of the participant is in the training part."""
    rows: dict[str, Integer[np.ndarray, "videos classes"]]
    """Scored rows of each true class, by task."""
    hits: dict[str, dict[str, Integer[np.ndarray, "videos classes"]]]
    """Those whose class is among the first five, by method and task; the model comes first."""


Stage = Literal["val", "test"]
"""`val` for training videos that were held out."""


def write_scored_videos(folder: Path, stage: Stage, scored: ScoredVideos) -> None:
    """Write counts of the classes that occur: video, class, rows, and the hits of each method."""
    tasks = {}
    for task, rows in scored.rows.items():
        found = rows.nonzero()
        columns = [*found, rows[found], *(hits[task][found] for hits in scored.hits.values())]
        tasks[task] = {
            "num_classes": rows.shape[1],
            "counts": np.stack(columns, axis=1).tolist(),
        }
    document = {
        "participants": scored.participants,
        "unseen": scored.unseen.tolist(),
        "methods": list(scored.hits),
        "tasks": tasks,
    }
    _scored_videos_file(folder, stage).write_text(json.dumps(document) + "\n")


def read_scored_videos(folder: Path, stage: Stage) -> ScoredVideos | None:
    """Return what a stage has scored, None where the folder does not have it."""
    path = _scored_videos_file(folder, stage)
    return _read(path, _scored_videos) if path.is_file() else None


def _scored_videos_file(folder: Path, stage: Stage) -> Path:
    return folder / f"scored_videos_{stage}.json"


def _scored_videos(document: Any) -> ScoredVideos:
    participants, methods = tuple(map(str, document["participants"])), document["methods"]
    rows: dict[str, np.ndarray] = {}
    hits: dict[str, dict[str, np.ndarray]] = {method: {} for method in methods}
    for task, content in document["tasks"].items():
        table = np.array(content["counts"], np.int64).reshape(-1, 3 + len(methods))
        counts = np.zeros((1 + len(methods), len(participants), content["num_classes"]), np.int64)
        counts[:, table[:, 0], table[:, 1]] = table[:, 2:].T
        rows[task] = counts[0]
        for method, counted in zip(methods, counts[1:], strict=True):
            hits[method][task] = counted
    return ScoredVideos(participants, np.array(document["unseen"], np.bool_), rows, hits)


def _read(path: Path, build: Callable[[Any], Content]) -> Content | None:
    """Build what a file holds; a damaged one is named and left out."""
    try:
        return build(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        notice(f"{path}: left out, as it is damaged ({type(error).__name__}: {error})")
        return None


def _usage(document: Any) -> Float[np.ndarray, "blocks routers experts"]:
    usage = np.array(document["usage"], np.float64)
    if usage.ndim != 3:
        raise ValueError(f"usage has shape {usage.shape}, expected blocks, routers, experts")
    return usage


def _timeline(document: Mapping[str, Any]) -> Timeline:
    # Colours belong to class ids, so the names of classes that do not occur are only places.
    names = [document["classes"].get(str(label), "") for label in range(document["num_classes"])]
    rows = {
        name: np.repeat([label for label, _ in runs], [length for _, length in runs])
        for name, runs in document["rows"].items()
    }
    return Timeline(
        str(document["video_id"]),
        float(document["obs_ratio"]),
        int(document["observed_frames"]),
        float(document["fps"]),
        tuple(names),
        rows,
    )
