"""Which experts MixANT chooses for each video and TeSTra for each segment, and how they group."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from torch import Tensor

from anticipate.catalog import class_at
from anticipate.datasets.batches.dense_module import DenseDataModule
from anticipate.datasets.batches.short_term_module import ShortTermDataModule
from anticipate.errors import ConfigError
from anticipate.lab.explain.routing_effect import (
    NUM_SHUFFLES,
    ForcingCost,
    estimate_error,
    forcing_cost,
)
from anticipate.models.diffusion_anticipator import DiffusionAnticipator
from anticipate.models.testra_anticipator import TeSTraAnticipator
from anticipate.training.loading import load_marked, settings_file
from anticipate.training.settings import current_path, flatten, read_yaml
from anticipate.types import DenseBatch, TickBatch

Batch = TypeVar("Batch", DenseBatch, TickBatch)

ALL_TOKENS = 2**40
"""Tokens denoised at once: all of a batch, so that each call of the denoiser is one step."""


class Selections(NamedTuple):
    """The choices of one model: for videos, or for the segments that windows anticipate."""

    ids: tuple[str, ...]
    labels: list[str]
    """Activity of each video; action of each segment."""
    groups: list[str] | None
    """What each video belongs to; None for segments, which are not clustered."""
    chosen: Int[np.ndarray, "items blocks routers"]
    """Expert that each router chose, where there are denoising steps in the last one."""
    usage: Float[np.ndarray, "blocks routers experts"]
    """Share of the choices over all steps and items."""
    gamma_spread: float
    """Largest probability of a router above the even one, mean over steps, items and routers."""
    cost: ForcingCost
    synthetic: bool
    caveat: str
    """What results have to say about the checkpoint; may be empty."""

    @property
    def kind(self) -> str:
        """What the items are."""
        return "segment" if self.groups is None else "video"

    @property
    def vectors(self) -> Float[np.ndarray, "items choices"]:
        """Flattened selection matrices: one 1 for each router of each block."""
        experts = np.eye(self.usage.shape[-1])
        return experts[self.chosen].reshape(len(self.chosen), -1)


def select(
    ckpt: Path, data: Path, split: str | None, obs_ratio: float, allow_foreign: bool = False
) -> Selections:
    """Forecast every test video or segment and note the choices of the routers.

    Args:
        ckpt: Checkpoint of a run.
        data: Data file.
        split: Split whose test part is used; that of the run when None.
        obs_ratio: Observed share of each video; windows before segments do not depend on it.
        allow_foreign: Whether the data may be others than those of the training.

    Raises:
        ConfigError: The checkpoint is of a model without mixture.
        AnticipateError: Checkpoint or data that cannot be used.
    """
    settings = ["--data.limit_test_rows=null"]
    if not _reads_windows(ckpt):
        settings = [f"--data.obs_ratios=[{obs_ratio}]", "--data.limit_test_videos=null"]
    settings += [] if split is None else [f"--data.split={split}"]
    (model, module), caveat = load_marked(ckpt, data, settings, allow_foreign)
    module.setup("test")
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    assert isinstance(module, DenseDataModule | ShortTermDataModule)
    found = (
        _videos(model, module) if isinstance(module, DenseDataModule) else _segments(model, module)
    )
    gamma = found.gamma
    if not gamma or not gamma[0].shape[1]:
        raise ConfigError(f"{ckpt} is of a model without a mixture: explain one of several experts")
    num_experts = gamma[0].shape[-1]
    choices = np.concatenate([step.argmax(axis=-1) for step in gamma], axis=-1)
    return Selections(
        found.ids,
        found.labels,
        found.groups,
        np.moveaxis(choices[-1], -1, 0),
        (choices[..., None] == np.arange(num_experts)).mean(axis=(0, 3)),
        float(np.concatenate([step.max(-1).ravel() for step in gamma]).mean() - 1 / num_experts),
        forcing_cost(model, found.error),
        bool(module.synthetic),
        caveat,
    )


class _Forecasts(NamedTuple):
    ids: tuple[str, ...]
    labels: list[str]
    groups: list[str] | None
    gamma: list[np.ndarray]
    """(steps, blocks, routers, items, experts) of each batch."""
    error: Callable[[], float]
    """Error of the forecasts, measured anew."""


def _videos(model: Any, data: DenseDataModule) -> _Forecasts:
    assert isinstance(model, DiffusionAnticipator)
    model.num_samples, model.max_tokens = 1, ALL_TOKENS
    batches = [_moved(batch, model.device) for batch in data.test_dataloader()]
    ids = tuple(video for batch in batches for video in batch.video_ids)
    return _Forecasts(
        ids,
        [data.store.activity(video) for video in ids],
        [data.group_of(video) for video in ids],
        _gammas(model, model.denoiser, batches),
        partial(estimate_error, model, batches),
    )


def _segments(model: Any, data: ShortTermDataModule) -> _Forecasts:
    assert isinstance(model, TeSTraAnticipator)
    batches = [_moved(batch, model.device) for batch in data.test_dataloader()]
    targets = torch.cat([batch.targets for batch in batches])
    return _Forecasts(
        tuple(segment for batch in batches for segment in batch.segment_ids),
        [data.vocabulary[action] for action in targets.tolist()],
        None,
        _gammas(model, model.network, batches),
        partial(_surprise, model, batches, targets),
    )


@torch.no_grad()
def _gammas(model: Any, network: torch.nn.Module, batches: Sequence[Batch]) -> list[np.ndarray]:
    """Return gamma of each batch, of each time that the network is called."""
    steps: list[Tensor] = []
    hook = network.register_forward_hook(lambda _, __, output: steps.append(output.gamma))
    gamma: list[np.ndarray] = []
    try:
        for batch in batches:
            steps.clear()
            model.forecast(batch)
            gamma.append(torch.stack(steps).float().cpu().numpy())
    finally:
        hook.remove()
    return gamma


def _surprise(
    model: TeSTraAnticipator, batches: Sequence[TickBatch], targets: Int[Tensor, " segments"]
) -> float:
    """Return the cross-entropy of the action that follows a window, mean over segments."""
    scores = torch.cat([model.forecast(batch).logits[:, -1] for batch in batches])
    return float(F.cross_entropy(scores, targets))


def _reads_windows(ckpt: Path) -> bool:
    """Tell whether a run is of TeSTra, before its settings are added to; refuse other systems."""
    if not ckpt.is_file():
        return False
    settings = flatten(read_yaml(settings_file(ckpt).read_text()) or {})
    model = class_at(current_path(settings.get("model.class_path", "DiffusionAnticipator")))
    if not issubclass(model, DiffusionAnticipator | TeSTraAnticipator):
        raise ConfigError(f"{ckpt} is of a model without experts: explain one of MixANT or TeSTra")
    return issubclass(model, TeSTraAnticipator)


def _moved(batch: Batch, device: torch.device) -> Batch:
    return type(batch)(
        *(part.to(device) if isinstance(part, Tensor) else part for part in batch)  # type: ignore[arg-type]
    )


NUM_NEIGHBOURS = 5
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
