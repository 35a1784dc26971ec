"""Which experts a MixANT chooses for which video, and what they reveal about its activity."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from torch import Tensor

from anticipate.catalog import class_at
from anticipate.datasets.batches.dense_module import DenseDataModule
from anticipate.errors import ConfigError
from anticipate.lab.explain.routing_effect import NUM_SHUFFLES, ForcingCost, forcing_cost
from anticipate.models.diffusion_anticipator import DiffusionAnticipator
from anticipate.nn.denoiser import DenoiserOutput
from anticipate.training.loading import load_marked, settings_file
from anticipate.training.settings import current_path, flatten, read_yaml
from anticipate.types import DenseBatch

ALL_TOKENS = 2**40
"""Tokens denoised at once: all of a batch, so that each call of the denoiser is one step."""


class Selections(NamedTuple):
    """The choices of one model."""

    video_ids: tuple[str, ...]
    activities: list[str]
    groups: list[str]
    chosen: Int[np.ndarray, "videos blocks routers"]
    """Expert that each router chose in the last denoising step."""
    usage: Float[np.ndarray, "blocks routers experts"]
    """Share of the choices over all steps and videos."""
    gamma_spread: float
    """Largest probability of a router above the even one, mean over steps, videos and routers."""
    cost: ForcingCost
    synthetic: bool
    caveat: str
    """What results have to say about the checkpoint; may be empty."""

    @property
    def vectors(self) -> Float[np.ndarray, "videos choices"]:
        """Flattened selection matrices: one 1 for each router of each block."""
        experts = np.eye(self.usage.shape[-1])
        return experts[self.chosen].reshape(len(self.chosen), -1)


def select(
    ckpt: Path, data: Path, split: str | None, obs_ratio: float, allow_foreign: bool = False
) -> Selections:
    """Sample a future of every test video and note the choices of the routers.

    Args:
        ckpt: Checkpoint of a run.
        data: Data file.
        split: Split whose test videos are used; that of the run when None.
        obs_ratio: Observed share of each video.
        allow_foreign: Whether the data may be others than those of the training.

    Raises:
        ConfigError: The checkpoint is of a model without mixture.
        AnticipateError: Checkpoint or data that cannot be used.
    """
    _refuse_others(ckpt)
    settings = [f"--data.obs_ratios=[{obs_ratio}]", "--data.limit_test_videos=null"]
    settings += [] if split is None else [f"--data.split={split}"]
    (model, module), caveat = load_marked(ckpt, data, settings, allow_foreign)
    assert isinstance(model, DiffusionAnticipator)
    assert isinstance(module, DenseDataModule)
    model.num_samples, model.max_tokens = 1, ALL_TOKENS
    module.setup("test")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    batches = [_moved(batch, device) for batch in module.test_dataloader()]
    video_ids, gamma = _gammas(model, batches)
    if not gamma or not gamma[0].shape[1]:
        raise ConfigError(f"{ckpt} is of a model without a mixture: explain one of several experts")
    num_experts = gamma[0].shape[-1]
    choices = np.concatenate([step.argmax(axis=-1) for step in gamma], axis=-1)
    return Selections(
        video_ids,
        [module.store.activity(video_id) for video_id in video_ids],
        [module.group_of(video_id) for video_id in video_ids],
        np.moveaxis(choices[-1], -1, 0),
        (choices[..., None] == np.arange(num_experts)).mean(axis=(0, 3)),
        float(np.concatenate([step.max(-1).ravel() for step in gamma]).mean() - 1 / num_experts),
        forcing_cost(model, batches),
        bool(module.synthetic),
        caveat,
    )


def _gammas(
    model: DiffusionAnticipator, batches: Sequence[DenseBatch]
) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Return the videos, and for each batch gamma (steps, blocks, routers, videos, experts)."""
    steps: list[Tensor] = []
    hook = model.denoiser.register_forward_hook(_note_into(steps))
    video_ids: list[str] = []
    gamma: list[np.ndarray] = []
    try:
        for batch in batches:
            steps.clear()
            model.forecast(batch)
            video_ids += batch.video_ids
            gamma.append(torch.stack(steps).float().cpu().numpy())
    finally:
        hook.remove()
    return tuple(video_ids), gamma


def _note_into(steps: list[Tensor]) -> Any:
    def note(denoiser: torch.nn.Module, inputs: Any, output: DenoiserOutput) -> None:
        steps.append(output.gamma.detach())

    return note


def _refuse_others(ckpt: Path) -> None:
    """See that the settings of a run are those of a diffusion model, before more are added."""
    if ckpt.is_file():
        settings = flatten(read_yaml(settings_file(ckpt).read_text()) or {})
        model = class_at(current_path(settings.get("model.class_path", "DiffusionAnticipator")))
        if not issubclass(model, DiffusionAnticipator):
            raise ConfigError(f"{ckpt} is of a model without experts: explain one of MixANT")


def _moved(batch: DenseBatch, device: torch.device) -> DenseBatch:
    return DenseBatch(
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
