"""Items of dense anticipation, one video cut at one observation ratio, and batches of them."""

import zlib
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from anticipate.datasets.batches.buckets import Draw
from anticipate.datasets.file.dense_file import DenseStore
from anticipate.errors import DataError
from anticipate.horizons import num_tokens, observed_frames, target_frames
from anticipate.types import PAD_LABEL, DenseBatch

AUGMENTED_SHARE = 0.4
"""Probability that a training item is not cut at its listed ratio (released code of GTDA)."""

AUGMENTED_RATIOS = (0.15, 0.40)
"""Range of the uniform law that such a cut follows."""


class DenseItem(NamedTuple):
    """One row of a `DenseBatch`, before padding."""

    features: Float[Tensor, "observed_tokens feature"]
    targets: Int[Tensor, " tokens"]
    frame_targets: Int[Tensor, " frames"]
    num_frames: int
    obs_ratio: float
    video_id: str


class DenseDataset(Dataset[DenseItem]):
    """Every video at every observation ratio; item `video * len(obs_ratios) + ratio`.

    Args:
        store: Data file.
        video_ids: Videos.
        obs_ratios: Observation ratios at which each video is listed.
        sample_rate: Frames per token.
        augment_seed: Seed of the training-time augmentation; None keeps the listed ratios.

    Raises:
        DataError: A video is shorter than one token or has no features in its observation.
    """

    def __init__(
        self,
        store: DenseStore,
        video_ids: tuple[str, ...],
        obs_ratios: tuple[float, ...],
        sample_rate: int,
        augment_seed: int | None = None,
    ) -> None:
        self.store = store
        self.video_ids = video_ids
        self.obs_ratios = obs_ratios
        self.sample_rate = sample_rate
        self.augment_seed = augment_seed
        self.num_frames = tuple(store.num_frames(video_id) for video_id in video_ids)
        self._check_lengths()

    def __len__(self) -> int:
        return len(self.video_ids) * len(self.obs_ratios)

    @property
    def lengths(self) -> Int[np.ndarray, " items"]:
        """Tokens of each item at its listed ratio, by which batches are made."""
        frames = (target_frames(n, ratio) for n in self.num_frames for ratio in self.obs_ratios)
        return np.array([num_tokens(n, self.sample_rate) for n in frames], dtype=np.int64)

    def obs_ratio(self, draw: Draw) -> float:
        """Return where an item is cut in one epoch."""
        video, ratio = divmod(draw.item, len(self.obs_ratios))
        listed = self.obs_ratios[ratio]
        if self.augment_seed is None:
            return listed
        return augmented_ratio(self.video_ids[video], listed, draw.epoch, self.augment_seed)

    def __getitem__(self, draw: Draw) -> DenseItem:
        video = draw.item // len(self.obs_ratios)
        video_id, num_frames = self.video_ids[video], self.num_frames[video]
        obs_ratio = self.obs_ratio(draw)
        labelled = target_frames(num_frames, obs_ratio)
        labels = torch.from_numpy(self.store.labels(video_id).astype(np.int64))
        features = self.store.features(
            video_id, observed_frames(num_frames, obs_ratio), self.sample_rate
        )
        return DenseItem(
            features=torch.from_numpy(features),
            targets=labels[: labelled : self.sample_rate],
            frame_targets=labels,
            num_frames=num_frames,
            obs_ratio=obs_ratio,
            video_id=video_id,
        )

    def _check_lengths(self) -> None:
        augmented = () if self.augment_seed is None else AUGMENTED_RATIOS[:1]
        earliest = min(self.obs_ratios + augmented)
        for video_id, num_frames in zip(self.video_ids, self.num_frames, strict=True):
            if num_frames < self.sample_rate:
                raise DataError(
                    f"video '{video_id}' has {num_frames} frames, less than one token of "
                    f"{self.sample_rate} frames: lower sample_rate or prepare the data without it"
                )
            observed = observed_frames(num_frames, earliest)
            if min(observed, self.store.num_feature_frames(video_id)) < 1:
                raise DataError(
                    f"video '{video_id}' has no features in its first {observed} of {num_frames} "
                    f"frames (observation ratio {earliest}): raise the ratio or prepare the data "
                    f"without it"
                )


def augmented_ratio(video_id: str, listed: float, epoch: int, seed: int) -> float:
    """Draw where a training item is cut: at its listed ratio or, in 40 %, within [0.15, 0.40).

    The draw depends on the arguments alone, so workers, order and resuming do not change it. The
    law is that of the released training code of GTDA.

    Args:
        video_id: Video of the item.
        listed: Observation ratio at which the item is listed.
        epoch: Number of finished epochs.
        seed: Seed of the run.
    """
    item = zlib.crc32(f"{video_id} {listed}".encode())
    generator = np.random.default_rng((seed, epoch, item))
    if generator.random() >= AUGMENTED_SHARE:
        return listed
    return float(generator.uniform(*AUGMENTED_RATIOS))


def collate_dense(items: list[DenseItem]) -> DenseBatch:
    """Pad items to the longest and make one batch of them.

    Args:
        items: Rows of the batch.
    """
    targets = pad_sequence([item.targets for item in items], True, PAD_LABEL)
    tokens = torch.arange(targets.shape[1])
    num_observed = torch.tensor([len(item.features) for item in items])
    num_valid = torch.tensor([len(item.targets) for item in items])
    return DenseBatch(
        features=pad_sequence([item.features for item in items], batch_first=True),
        targets=targets,
        observed=tokens < num_observed[:, None],
        valid=tokens < num_valid[:, None],
        frame_targets=pad_sequence([item.frame_targets for item in items], True, PAD_LABEL),
        num_frames=torch.tensor([item.num_frames for item in items]),
        obs_ratios=tuple(item.obs_ratio for item in items),
        video_ids=tuple(item.video_id for item in items),
    )
