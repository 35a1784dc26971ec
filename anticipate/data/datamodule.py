"""What the dense data sets share: their settings, splits and loaders on one prepared file."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from anticipate.console import notice
from anticipate.data.buckets import LengthBuckets, evaluation_order
from anticipate.data.dense import DenseDataset, collate_dense
from anticipate.data.horizons import FUTURE_RATIO, check_ratios
from anticipate.data.store import FeatureStore
from anticipate.data.subsets import held_out, spread
from anticipate.errors import ConfigError, DataError
from anticipate.segments import Segments


class DenseDataModule(LightningDataModule, ABC):
    """Training, validation and test videos of one split of a dense data set.

    Validation uses held-out training videos, never test videos; without any there is no validation.

    Args:
        path: HDF5 file made by `anticipate prepare`.
        sample_rate: Frames per token: the network sees every n-th frame. A multiple of the file's
            stride.
        split: Number of the official split.
        obs_ratios: Shares of the video that are observed in validation and test.
        pred_ratios: Shares of the whole video after the observation that are scored, at most 0.5.
        train_obs_ratios: Observed shares at which every training video is listed.
        augment: Whether 40 % of the training items are cut uniformly in [0.15, 0.40) instead.
        batch_size: Training items per step and process.
        eval_batch_size: Items per step and process in validation, test and predict.
        num_workers: Processes that load data, beside each process that computes; 0 for none.
        seed: Seed of the order and the augmentation of training items.
        validation_fraction: Share of the training set to hold out for validation, in whole groups
            (persons or recordings), so that views of one performance stay together; 0 for none.
        limit_test_videos: Test videos to use, evenly spread over their sorted list; null for all.

    Raises:
        ConfigError: A setting out of range, or a split or sample rate that the file does not have.
        DataError: No file, one of another data set, or a video that is too short.
    """

    dataset: ClassVar[str]
    """Name of the data set, as files and `anticipate prepare` call it."""
    prepare_options: ClassVar[str] = " --source DIR"
    """What `anticipate prepare DATASET` needs besides the output."""

    def __init__(
        self,
        path: str,
        sample_rate: int,
        split: int = 1,
        obs_ratios: tuple[float, ...] = (0.2, 0.3),
        pred_ratios: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5),
        train_obs_ratios: tuple[float, ...] = (0.2, 0.3, 0.5),
        augment: bool = True,
        batch_size: int = 16,
        eval_batch_size: int = 4,
        num_workers: int = 0,
        seed: int = 0,
        validation_fraction: float = 0.0,
        limit_test_videos: int | None = None,
    ) -> None:
        super().__init__()
        self.path = path
        self.sample_rate = sample_rate
        self.split = split
        self.obs_ratios = obs_ratios
        self.pred_ratios = pred_ratios
        self.train_obs_ratios = train_obs_ratios
        self.augment = augment
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.validation_fraction = validation_fraction
        self.limit_test_videos = limit_test_videos
        self._check_settings()

    @staticmethod
    @abstractmethod
    def group_of(video_id: str) -> str:
        """Name what a held-out video must not share with a training video: the person or recording.

        Args:
            video_id: Video of this data set.
        """

    @cached_property
    def store(self) -> FeatureStore:
        """The data file, opened when first needed."""
        command = f"anticipate prepare {self.dataset}{self.prepare_options} --output {self.path}"
        store = FeatureStore(self.path, make_with=command)
        if store.dataset != self.dataset:
            raise DataError(
                f"{self.path} holds the data set '{store.dataset}', but {type(self).__name__} "
                f"reads '{self.dataset}': name another file (path) or another data class"
            )
        return store

    @property
    def feature_dim(self) -> int:
        """Width of a feature vector."""
        return self.store.feature_dim

    @property
    def num_classes(self) -> int:
        """Number of action classes."""
        return self.store.num_classes

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Name of each class, in the order of the class ids."""
        return self.store.classes

    @property
    def synthetic(self) -> bool:
        """Whether the features were made from the labels, so that no score is a result."""
        return self.store.synthetic

    @cached_property
    def val_videos(self) -> tuple[str, ...]:
        """Training videos held out for validation."""
        training = self.store.split(self.split, "train")
        return held_out(training, self.group_of, self.validation_fraction)

    @cached_property
    def train_videos(self) -> tuple[str, ...]:
        """Training videos of the split that are not held out."""
        held = set(self.val_videos)
        return tuple(video for video in self.store.split(self.split, "train") if video not in held)

    @cached_property
    def test_videos(self) -> tuple[str, ...]:
        """Test videos of the split, or the stated subset of them."""
        return spread(self.store.split(self.split, "test"), self.limit_test_videos)

    @cached_property
    def train_dataset(self) -> DenseDataset:
        """Training videos at each training ratio, augmented when asked for."""
        seed = self.seed if self.augment else None
        ratios = self.train_obs_ratios
        return DenseDataset(self.store, self.train_videos, ratios, self.sample_rate, seed)

    @cached_property
    def val_dataset(self) -> DenseDataset:
        """Held-out training videos at each observation ratio."""
        return self._whole_videos(self.val_videos)

    @cached_property
    def test_dataset(self) -> DenseDataset:
        """Test videos at each observation ratio."""
        return self._whole_videos(self.test_videos)

    def train_transcripts(self) -> tuple[Segments, ...]:
        """Return the labels of the training videos as segments, for label-only baselines."""
        return tuple(Segments.from_frames(self.store.labels(video)) for video in self.train_videos)

    def setup(self, stage: str) -> None:
        """Check what the stage will read, before a worker stumbles over it, and say what it is.

        Args:
            stage: `fit`, `validate`, `test` or `predict`.

        Raises:
            ConfigError: A split or sample rate that the file does not have, or no video to
                validate on.
            DataError: No file, one of another data set, or a video that is too short.
        """
        if stage == "validate" and not self.val_videos:
            raise ConfigError("no videos to validate on: set validation_fraction, such as 0.1")
        self.store.features(self.store.video_ids[0], 1, self.sample_rate)
        videos = _fit_videos(self) if stage == "fit" else _scored_videos(self, stage)
        caveat = ", synthetic features" if self.synthetic else ""
        rank_zero_only(notice)(f"{self.dataset}, split {self.split}: {videos}{caveat}")

    def train_dataloader(self) -> DataLoader:
        """Return batches of training items of similar length."""
        dataset = self.train_dataset
        buckets = LengthBuckets(dataset.lengths, self.batch_size, self.seed, *self._process())
        return self._loader(dataset, batch_sampler=buckets)

    def val_dataloader(self) -> list[DataLoader]:
        """Return a loader of held-out training videos; none when nothing is held out."""
        return [self._evaluation_loader(self.val_dataset)] if self.val_videos else []

    def test_dataloader(self) -> DataLoader:
        """Return a loader of the test videos at each observation ratio."""
        return self._evaluation_loader(self.test_dataset)

    predict_dataloader = test_dataloader

    def _whole_videos(self, videos: tuple[str, ...]) -> DenseDataset:
        rate = self.sample_rate
        return DenseDataset(self.store, videos, self.obs_ratios, rate, whole_videos=True)

    def _evaluation_loader(self, dataset: DenseDataset) -> DataLoader:
        order = evaluation_order(dataset.lengths, *self._process())
        return self._loader(dataset, sampler=order, batch_size=self.eval_batch_size)

    def _loader(self, dataset: DenseDataset, **batching: Any) -> DataLoader:
        return DataLoader(
            dataset,
            collate_fn=collate_dense,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            **batching,
        )

    def _process(self) -> tuple[int, int]:
        trainer = self.trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

    def _check_settings(self) -> None:
        check_ratios("obs_ratios", self.obs_ratios)
        check_ratios("train_obs_ratios", self.train_obs_ratios)
        check_ratios("pred_ratios", self.pred_ratios, FUTURE_RATIO)
        if not 0.0 <= self.validation_fraction < 1.0:
            raise ConfigError(f"validation_fraction is {self.validation_fraction}: expected [0, 1)")
        for setting in ("sample_rate", "batch_size", "eval_batch_size", "limit_test_videos"):
            self._check_least(setting, 1)
        for setting in ("num_workers", "seed"):
            self._check_least(setting, 0)

    def _check_least(self, setting: str, least: int) -> None:
        value = getattr(self, setting)
        if value is not None and value < least:
            raise ConfigError(f"{setting} is {value}: expected {least} or more")


def _fit_videos(data: DenseDataModule) -> str:
    train, val = len(data.train_dataset.video_ids), len(data.val_dataset.video_ids)
    return f"{train} training videos, {val or 'none'} held out for validation"


def _scored_videos(data: DenseDataModule, stage: str) -> str:
    if stage == "validate":
        return f"{len(data.val_dataset.video_ids)} held-out training videos"
    used, released = len(data.test_dataset.video_ids), len(data.store.split(data.split, "test"))
    if used == released:
        return f"all {used} test videos"
    return f"{used} of {released} test videos, evenly spread (limit_test_videos)"
