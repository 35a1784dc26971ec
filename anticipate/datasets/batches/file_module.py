"""What all data modules share: one prepared file, a split of it, loaders, and a few settings."""

import argparse
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from anticipate.datasets.file.data_file import DataFile
from anticipate.errors import ConfigError, DataError
from anticipate.machine import usable_cores

Store = TypeVar("Store", bound=DataFile)

MOST_WORKERS = 4
"""Processes that load data for a GPU: a long item takes a millisecond, a step sixteen of them."""


class FileDataModule(LightningDataModule, ABC):
    """One split of a prepared file.

    Args:
        path: HDF5 file made by `anticipate prepare`.
        split: Number of the official split.
        batch_size: Training items per step and process.
        eval_batch_size: Items per step and process in validation, test and predict.
        num_workers: Processes that load data for each computing process; 0 for none, null for up to
            four beside a GPU, and none on a CPU, whose cores compute.
        seed: Seed of the order and the augmentation of training items.
        validation_fraction: Share of the training set to hold out for validation.

    Raises:
        ConfigError: A setting out of range, or a class without `dataset`.
    """

    dataset: ClassVar[str]
    """Name of the data set, as files and `anticipate prepare` call it."""
    title: ClassVar[str]
    """Name of the data set in texts."""
    release: ClassVar[str] = "a release"
    """What `anticipate prepare` reads, for its help."""
    prepare_options: ClassVar[str] = " --source DIR"
    """What `anticipate prepare DATASET` needs besides the output."""

    def __init__(
        self,
        path: str,
        split: int,
        batch_size: int,
        eval_batch_size: int,
        num_workers: int | None,
        seed: int,
        validation_fraction: float,
    ) -> None:
        super().__init__()
        if not hasattr(self, "dataset"):
            raise ConfigError(
                f"{type(self).__name__} has no name: expected `dataset` in the class, as files "
                "call it, and `title`, for people"
            )
        self.path = path
        self.split = split
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.validation_fraction = validation_fraction
        if not 0.0 <= validation_fraction < 1.0:
            raise ConfigError(f"validation_fraction is {validation_fraction}: expected [0, 1)")
        self._check_least(1, "batch_size", "eval_batch_size")
        self._check_least(0, "num_workers", "seed")

    def __str__(self) -> str:
        # Lightning's text counts the items of every loader; jsonargparse asks for it in passing.
        return f"{type(self).__name__}({self.path}, split {self.split})"

    @classmethod
    def read_release(cls, options: argparse.Namespace) -> Any:
        """Read the annotation of the release and find its features.

        Args:
            options: What `anticipate prepare` was called with.

        Returns:
            A `DenseRelease` or `ShortTermRelease`, and a `FeatureSource`.

        Raises:
            DataError: A file of the release is missing, damaged or does not fit the others.
        """
        raise ConfigError(
            f"{cls.__name__} reads no release: define its class method read_release, or write the "
            "file by DenseWriter or ShortTermWriter"
        )

    @staticmethod
    @abstractmethod
    def collate(items: Any) -> Any:
        """Make a batch of some items.

        Args:
            items: Items of a dataset.
        """

    @property
    @abstractmethod
    def store(self) -> DataFile:
        """The data file, opened when first needed."""

    @property
    @abstractmethod
    def scored_part(self) -> str:
        """Which part of the test data is scored, in words; empty for all of it."""

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

    def _open(self, reader: type[Store], **options: Any) -> Store:
        own = type(self)
        name = f"{self.dataset}{self.prepare_options}"
        if not own.__module__.startswith("anticipate."):
            name = f"{own.__module__}.{own.__qualname__}"
        command = f"anticipate prepare {name} --output {self.path}"
        store = reader(self.path, make_with=command, **options)
        if store.dataset != self.dataset:
            raise DataError(
                f"{self.path} holds the data set '{store.dataset}', but {type(self).__name__} "
                f"reads '{self.dataset}': name another file (path) or another data class"
            )
        return store

    def _loader(
        self, dataset: Dataset, collate: Callable[[Any], Any] | None = None, **batching: Any
    ) -> DataLoader:
        trainer, workers = self.trainer, self.num_workers
        on_gpu = trainer is not None and trainer.strategy.root_device.type == "cuda"
        if workers is None:
            cores = usable_cores() // trainer.num_devices if trainer is not None and on_gpu else 0
            workers = min(MOST_WORKERS, cores)
        return DataLoader(
            dataset,
            collate_fn=collate or self.collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=on_gpu,
            **batching,
        )

    def _evaluation_loader(self, dataset: Dataset, order: Sequence[Any]) -> DataLoader:
        return self._loader(dataset, sampler=order, batch_size=self.eval_batch_size)

    def _process(self) -> tuple[int, int]:
        trainer = self.trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

    def _check_least(self, least: int, *settings: str) -> None:
        for setting in settings:
            value = getattr(self, setting)
            if value is not None and value < least:
                raise ConfigError(f"{setting} is {value}: expected {least} or more")
