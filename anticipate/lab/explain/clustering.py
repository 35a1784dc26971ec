"""How well the experts chosen for a video tell its activity (MixANT Sec. 5.3), as numbers."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

NUM_NEIGHBOURS = 5
NUM_SHUFFLES = 20
"""How often the activities are shuffled to learn what chance gives."""
PERPLEXITY = 30.0
"""Of t-SNE; less where there are few videos."""
LEAST_VIDEOS = 5


class Clustering(NamedTuple):
    """Agreement of selections with activities."""

    silhouette: float
    """-1 to 1; 0 where activities are mixed."""
    knn_accuracy: float
    """Share of videos whose nearest neighbours mostly have the same activity, in percent."""
    shuffled_mean: float
    """The same where activities are shuffled, mean .."""
    shuffled_deviation: float
    """.. and standard deviation."""


def clustering(
    vectors: Float[np.ndarray, "videos choices"], activities: list[str], groups: list[str]
) -> Clustering | None:
    """Measure how selections cluster by activity.

    Args:
        vectors: Flattened selection matrix of each video.
        activities: Activity of each video.
        groups: What each video belongs to; neighbours of its own group do not count, for another
            camera's view of the same scene is no evidence.

    Returns:
        None where activities cannot cluster: fewer than two, or one for each video.
    """
    names, labels = np.unique(activities, return_inverse=True)
    if not 2 <= len(names) < len(labels):
        return None
    near = _neighbours(vectors, np.unique(groups, return_inverse=True)[1])
    rng = np.random.default_rng(0)
    shuffled = [_accuracy(near, rng.permutation(labels)) for _ in range(NUM_SHUFFLES)]
    return Clustering(
        float(silhouette_score(vectors, labels)),
        _accuracy(near, labels),
        float(np.mean(shuffled)),
        float(np.std(shuffled, ddof=1)),
    )


def embed(vectors: Float[np.ndarray, "videos choices"]) -> Float[np.ndarray, "videos 2"]:
    """Map selections to a plane by t-SNE, the same in every run."""
    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    plane = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(vectors)
    return np.asarray(plane, dtype=np.float64)


def _neighbours(
    vectors: Float[np.ndarray, "videos choices"], groups: np.ndarray
) -> Bool[np.ndarray, "videos videos"]:
    """Tell who is nearest; all that are as far as the last one count, so order means nothing."""
    squares = (vectors**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * vectors @ vectors.T
    distances[groups[:, None] == groups] = np.inf
    last = np.sort(distances, axis=1)[:, min(NUM_NEIGHBOURS, len(vectors)) - 1]
    return np.isfinite(distances) & (distances <= last[:, None] + 1e-9)


def _accuracy(near: Bool[np.ndarray, "videos videos"], labels: np.ndarray) -> float:
    """Return the share of right votes in percent; a draw among n activities counts 1/n."""
    votes = near.astype(np.float64) @ np.eye(labels.max() + 1)[labels]
    winners = (votes == votes.max(axis=1, keepdims=True)) & (votes > 0)
    right = winners[np.arange(len(labels)), labels]
    return float(100 * (right / np.maximum(winners.sum(axis=1), 1)).mean())
