"""What the dense data sets share: their settings, splits and loaders on one prepared file."""

import argparse
from abc import abstractmethod
from functools import cached_property

from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from anticipate.console import notice
from anticipate.datasets.batches.buckets import STEPS_PER_POOL, LengthBuckets, evaluation_order
from anticipate.datasets.batches.dense_items import DenseDataset, collate_dense
from anticipate.datasets.batches.file_module import FileDataModule
from anticipate.datasets.batches.subsets import held_out, spread
from anticipate.datasets.batches.transcripts import TranscriptDataset, collate_transcripts
from anticipate.datasets.file.dense_file import DenseStore
from anticipate.datasets.release.options import add_dense_options
from anticipate.errors import ConfigError
from anticipate.horizons import FUTURE_RATIO, check_ratios
from anticipate.segments import Segments

__all__ = ["DenseDataModule"]


class DenseDataModule(FileDataModule):
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
        num_workers: Processes that load data for each computing process; 0 for none, null for up to
            four beside a GPU.
        seed: Seed of the order and the augmentation of training items.
        validation_fraction: Share of the training set to hold out for validation, in whole groups
            (persons or recordings), so that views of one performance stay together; 0 for none.
        limit_test_videos: Test videos to use, evenly spread over their sorted list; null for all.
        steps_per_pool: Steps whose training items are sorted by length together: fewer mix the
            batches better, more have less padding.

    Raises:
        ConfigError: A setting out of range, or a split or sample rate that the file does not have.
        DataError: No file, one of another data set, or a video that is too short.
    """

    collate = staticmethod(collate_dense)

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
        num_workers: int | None = None,
        seed: int = 0,
        validation_fraction: float = 0.0,
        limit_test_videos: int | None = None,
        steps_per_pool: int = STEPS_PER_POOL,
    ) -> None:
        super().__init__(
            path, split, batch_size, eval_batch_size, num_workers, seed, validation_fraction
        )
        self.sample_rate = sample_rate
        self.obs_ratios = obs_ratios
        self.pred_ratios = pred_ratios
        self.train_obs_ratios = train_obs_ratios
        self.augment = augment
        self.limit_test_videos, self.steps_per_pool = limit_test_videos, steps_per_pool
        check_ratios("obs_ratios", obs_ratios)
        check_ratios("train_obs_ratios", train_obs_ratios)
        check_ratios("pred_ratios", pred_ratios, FUTURE_RATIO)
        self._check_least(1, "sample_rate", "limit_test_videos", "steps_per_pool")

    @classmethod
    def add_release_options(cls, parser: argparse.ArgumentParser) -> None:
        """Declare where the release and its features lie.

        Args:
            parser: Parser of `anticipate prepare` for this data set.
        """
        add_dense_options(parser)

    @staticmethod
    @abstractmethod
    def group_of(video_id: str) -> str:
        """Name what a held-out video must not share with a training video: the person or recording.

        Args:
            video_id: Video of this data set.
        """

    @cached_property
    def store(self) -> DenseStore:
        """The data file, opened when first needed."""
        return self._open(DenseStore)

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
        return self._scored(self.val_videos)

    @cached_property
    def test_dataset(self) -> DenseDataset:
        """Test videos at each observation ratio."""
        return self._scored(self.test_videos)

    @cached_property
    def transcript_dataset(self) -> TranscriptDataset:
        """Beginnings of the transcripts of the training videos."""
        return TranscriptDataset(self.train_transcripts())

    def train_transcripts(self) -> tuple[Segments, ...]:
        """Return the labels of the training videos as segments, for label-only baselines."""
        return tuple(Segments.from_frames(self.store.labels(video)) for video in self.train_videos)

    @property
    def scored_part(self) -> str:
        """Which part of the test videos is scored, in words; empty for all of them."""
        used, released = len(self.test_videos), len(self.store.split(self.split, "test"))
        return "" if used == released else f"{used} of {released} test videos"

    def prepare_data(self) -> None:
        """Look for the split; Lightning asks before a logger writes into the run folder.

        Raises:
            ConfigError: A split that the file does not have.
        """
        self.store.split(self.split, "train")

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
        """Return batches of training items of similar length.

        A model with `beginnings_per_step` gets that many beginnings of transcripts instead.
        """
        model = getattr(self.trainer, "lightning_module", None)
        if beginnings := getattr(model, "beginnings_per_step", 0):
            return self._transcript_loader(beginnings)
        dataset = self.train_dataset
        buckets = LengthBuckets(
            dataset.lengths,
            self.batch_size,
            self.seed,
            *self._process(),
            steps_per_pool=self.steps_per_pool,
        )
        return self._loader(dataset, batch_sampler=buckets)

    def val_dataloader(self) -> list[DataLoader]:
        """Return a loader of held-out training videos; none when nothing is held out."""
        return [self._scoring_loader(self.val_dataset)] if self.val_videos else []

    def test_dataloader(self) -> DataLoader:
        """Return a loader of the test videos at each observation ratio."""
        return self._scoring_loader(self.test_dataset)

    predict_dataloader = test_dataloader

    def _transcript_loader(self, beginnings: int) -> DataLoader:
        dataset = self.transcript_dataset
        # One step per pool: a batch of nothing but first segments would tell little.
        order = LengthBuckets(
            dataset.lengths, beginnings, self.seed, *self._process(), steps_per_pool=1
        )
        return self._loader(dataset, collate_transcripts, batch_sampler=order)

    def _scored(self, videos: tuple[str, ...]) -> DenseDataset:
        return DenseDataset(self.store, videos, self.obs_ratios, self.sample_rate)

    def _scoring_loader(self, dataset: DenseDataset) -> DataLoader:
        return self._evaluation_loader(dataset, evaluation_order(dataset.lengths, *self._process()))


def _fit_videos(data: DenseDataModule) -> str:
    train, val = len(data.train_dataset.video_ids), len(data.val_dataset.video_ids)
    return f"{train} training videos, {val or 'none'} held out for validation"


def _scored_videos(data: DenseDataModule, stage: str) -> str:
    if stage == "validate":
        return f"{len(data.val_dataset.video_ids)} held-out training videos"
    if data.scored_part:
        return f"{data.scored_part}, evenly spread (limit_test_videos)"
    return f"all {len(data.test_videos)} test videos"
