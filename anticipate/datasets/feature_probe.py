"""Do features look like those that the papers used? A bounded sample of frames tells, in seconds.

A linear classifier on single frames of training videos is scored on held-out videos; beside it
stand ranges, channels that never change, and how far neighbouring rows agree. What is expected
follows from how the published features are made: I3D, TSM and TSN pool what comes out of a ReLU,
and RULSTM's objects are sums of scores, so no value is negative. The other bounds are wide on
purpose: they find swapped axes, shuffled rows, lost channels and labels of other videos, not a
better network.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from anticipate.datasets.file.dense_file import DenseStore
from anticipate.datasets.file.segment_table import UNKNOWN
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.datasets.release.options import FEATURE_DIM, FEATURE_DIMS
from anticipate.errors import DataError

TRAIN_FRAMES, HELD_OUT_FRAMES = 4000, 2000
"""Frames that are read of each part, about as many of each video."""
MOST_VIDEOS = 400
"""Videos that they are taken from."""
COMPONENTS = 256
"""Principal components that the classifier sees."""
PERCENTILES = (0, 1, 50, 99, 100)

MOST_NEGATIVE = 0.001
"""Share of the values."""
MOST_DEAD = 0.2
"""Share of the channels; an object of RULSTM (15 % of its channels) may never be seen."""
LEAST_AGREEMENT = 0.02
"""Cosine of neighbouring rows above that of rows of different videos."""
LEAST_GAIN = 0.05
"""Accuracy of the classifier above the share of the most frequent class."""

Place = tuple[str, int, int]
"""Video, frame and label."""


class Sample(NamedTuple):
    """Frames of one part."""

    features: Float32[np.ndarray, "frames feature"]
    following: Float32[np.ndarray, "frames feature"]
    """The next stored row of the same videos."""
    labels: Int[np.ndarray, " frames"]
    videos: Int[np.ndarray, " frames"]
    """Number of the video of each frame."""


def probe(
    store: DenseStore | ShortTermStore, split: str | None = None, seed: int = 0
) -> dict[str, Any]:
    """Measure the features of a split.

    Args:
        store: Data file. The labels of a short-term file are its verbs.
        split: Split whose training and held-out videos are compared; None for the first one.
        seed: Seed of the frames that are read.

    Returns:
        The measures, `differs`: what is unlike the published features, in words, and `verdict`.

    Raises:
        ConfigError: The file has no such split.
        DataError: A part has no labelled frame.
    """
    known_splits, held_out = (
        (store.splits, "test") if isinstance(store, DenseStore) else (store.num_rows, "validation")
    )
    split = split or next(iter(known_splits))
    train = _read(store, split, "train", TRAIN_FRAMES, np.random.default_rng([seed, 0]))
    test = _read(store, split, held_out, HELD_OUT_FRAMES, np.random.default_rng([seed, 1]))
    values = np.concatenate([train.features, test.features])
    finite = np.isfinite(values)
    known = values[finite] if finite.any() else np.full(1, np.nan)
    found: dict[str, Any] = {
        "split": split,
        "train_frames": len(train.labels),
        "held_out_frames": len(test.labels),
        "width": store.feature_dim,
        "expected_width": _expected_width(store),
        "not_finite": float(1 - finite.mean()),
        "percentiles": np.percentile(known, PERCENTILES).tolist(),
        "negative": float((known < 0).mean()),
        "dead_channels": float(dead_channels(values).mean()),
        "neighbours": mean_cosine(test.features, test.following),
        "strangers": strangers_cosine(test),
        "accuracy": probe_accuracy(train, test),
        "most_frequent": _most_frequent(train, test),
    }
    found["differs"] = [*_differences(found)]
    unlike = f"unlike those of the papers: {'; '.join(found['differs'])}"
    found["verdict"] = unlike if found["differs"] else "nothing speaks against those of the papers"
    return found


def dead_channels(values: Float32[np.ndarray, "frames feature"]) -> np.ndarray:
    """Return which channels have one value in all frames, those that are not finite left out."""
    known = np.where(np.isfinite(values), values, np.nan)
    some = np.isfinite(known).any(axis=0)
    low, high = np.full((2, values.shape[1]), 0.0)
    low[some], high[some] = np.nanmin(known[:, some], axis=0), np.nanmax(known[:, some], axis=0)
    return low == high


def mean_cosine(
    one: Float32[np.ndarray, "frames feature"], other: Float32[np.ndarray, "frames feature"]
) -> float:
    """Return the mean cosine of pairs of rows; pairs with a row of zeros or NaN are left out."""
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    usable = np.isfinite(norms) & (norms > 0)
    if not usable.any():
        return float("nan")
    return float((np.einsum("fc,fc->f", one[usable], other[usable]) / norms[usable]).mean())


def strangers_cosine(sample: Sample) -> float:
    """Return the mean cosine of rows of different videos; NaN where there is one video."""
    half = len(sample.videos) // 2
    differ = sample.videos != np.roll(sample.videos, half)
    return mean_cosine(sample.features[differ], np.roll(sample.features, half, axis=0)[differ])


def probe_accuracy(train: Sample, test: Sample) -> float:
    """Return the share of held-out frames that a linear classifier names right.

    It sees the leading principal components of standardised features; frames with a value that is
    not finite take no part, nor classes with a single training frame. NaN where fewer than two
    classes are left to learn.
    """
    (features, labels), (held_out, truth) = _usable(train), _usable(test)
    repeated = np.isin(labels, np.flatnonzero(np.bincount(labels, minlength=1) > 1))
    features, labels = features[repeated], labels[repeated]
    if len(set(labels.tolist())) < 2 or not len(truth):
        return float("nan")
    components = min(COMPONENTS, *features.shape)
    classifier = make_pipeline(
        StandardScaler(),
        PCA(components, svd_solver="randomized", random_state=0),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage=1e-3),
    )
    with np.errstate(divide="ignore", invalid="ignore"):  # features that are constant
        return float(classifier.fit(features, labels).score(held_out, truth))


def _usable(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    usable = np.isfinite(sample.features).all(axis=1)
    return sample.features[usable].astype(np.float64), sample.labels[usable]


def _most_frequent(train: Sample, test: Sample) -> float:
    return float((test.labels == np.bincount(train.labels).argmax()).mean())


def _expected_width(store: DenseStore | ShortTermStore) -> int | None:
    """Return the width of the published features; None for streams that have none."""
    if isinstance(store, DenseStore):
        return FEATURE_DIM
    streams = store.streams or ("rgb",)
    return (
        sum(FEATURE_DIMS[name] for name in streams) if set(streams) <= set(FEATURE_DIMS) else None
    )


def _differences(found: dict[str, Any]) -> Iterator[str]:
    """Say what is unlike the published features, each with its number and what is expected."""
    if found["expected_width"] not in (None, found["width"]):
        yield f"{found['width']} channels (expected {found['expected_width']})"
    if found["not_finite"]:
        yield f"{100 * found['not_finite']:.2g} % of the values are NaN or infinite (none)"
    if found["negative"] > MOST_NEGATIVE:
        yield f"{100 * found['negative']:.2g} % of the values are negative (none)"
    if found["dead_channels"] > MOST_DEAD:
        yield f"{100 * found['dead_channels']:.0f} % of the channels never change (few)"
    if not found["neighbours"] - np.nan_to_num(found["strangers"]) > LEAST_AGREEMENT:
        yield (
            f"neighbouring rows have a cosine of {found['neighbours']:.2f}, rows of other videos "
            f"{found['strangers']:.2f} (neighbours agree more)"
        )
    if not found["accuracy"] - found["most_frequent"] > LEAST_GAIN:
        yield (
            f"a linear classifier names {100 * found['accuracy']:.0f} % of held-out frames, the "
            f"most frequent class {100 * found['most_frequent']:.0f} % (clearly more)"
        )


def _read(
    store: DenseStore | ShortTermStore,
    split: str,
    part: str,
    number: int,
    generator: np.random.Generator,
) -> Sample:
    if isinstance(store, DenseStore):
        places, step = _dense_places(store, split, part, number, generator), store.stride
    else:
        places = _short_term_places(store, split, part, number, generator)
        step = _row_frames(store)
    by_video: dict[str, list[tuple[int, int]]] = {}
    for video_id, frame, label in sorted(places):
        by_video.setdefault(video_id, []).append((frame, label))
    if not by_video:
        raise DataError(
            f"{store.path}: part '{part}' of split {split} has no labelled frame with another "
            "after it: nothing to probe; take another split"
        )
    frames = {video_id: np.array(pairs)[:, 0] for video_id, pairs in by_video.items()}
    now, following = (
        np.concatenate([store.features_at(name, at + later) for name, at in frames.items()])
        for later in (0, step)
    )
    labels = np.array([label for pairs in by_video.values() for _, label in pairs])
    videos = np.repeat(np.arange(len(frames)), [len(at) for at in frames.values()])
    return Sample(now, following, labels, videos)


def _dense_places(
    store: DenseStore, split: str, part: str, number: int, generator: np.random.Generator
) -> Iterator[Place]:
    videos = generator.permutation(store.split(split, part))[:MOST_VIDEOS].tolist()
    each = -(-number // max(len(videos), 1))
    for video_id in videos:
        rows = -(-store.num_feature_frames(video_id) // store.stride)
        labels = store.labels(video_id)
        frames = store.stride * generator.permutation(max(rows - 1, 0))[:each]
        yield from zip(
            [video_id] * len(frames), frames.tolist(), labels[frames].tolist(), strict=True
        )


def _short_term_places(
    store: ShortTermStore, split: str, part: str, number: int, generator: np.random.Generator
) -> Iterator[Place]:
    rows = store.rows(split, part)
    known = np.flatnonzero(rows.verbs != UNKNOWN)
    for row in generator.permutation(known)[:number].tolist():
        video_id = rows.video_ids[row]
        frame = int(generator.integers(rows.starts[row], rows.stops[row] + 1))
        if frame + _row_frames(store) <= store.num_frames(video_id):
            yield video_id, frame, int(rows.verbs[row])


def _row_frames(store: ShortTermStore) -> int:
    """Return how many frames later another row is stored."""
    return -int(-store.fps // store.feature_fps)
