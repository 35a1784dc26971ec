"""What the short-term data sets share: settings, segments, protocol and loaders of one file."""

import argparse
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from anticipate.console import notice
from anticipate.datasets.batches.buckets import LengthBuckets, evaluation_order
from anticipate.datasets.batches.clips import (
    ClipItem,
    Overlap,
    ScoredClips,
    ShortPast,
    ShortTermDataset,
    StepGrid,
    collate_short_term,
    has_past,
)
from anticipate.datasets.batches.file_module import FileDataModule
from anticipate.datasets.batches.subsets import held_out, spread_positions
from anticipate.datasets.batches.ticks import (
    TickDataset,
    TickItem,
    TickWindows,
    anticipating_token,
    collate_ticks,
)
from anticipate.datasets.file.segment_table import SegmentTable
from anticipate.datasets.file.short_term_file import ShortTermStore
from anticipate.datasets.release.options import add_short_term_options
from anticipate.errors import ConfigError
from anticipate.types import ShortTermBatch, ShortTermMeasures, ShortTermProtocol, TickBatch

__all__ = ["ShortTermDataModule"]


class ShortTermDataModule(FileDataModule):
    """Clips before the segments of one split of a short-term data set.

    The validation segments of the release are what papers score, so they are what `test` reads;
    validation during training uses held-out training videos, and without any there is none.

    Args:
        path: HDF5 file made by `anticipate prepare`.
        split: Number of the official split.
        anticipation_time: Seconds from the newest step of a clip to the start of its segment.
        num_steps: Moments at which a clip looks at its video.
        step_time: Seconds from one moment to the next.
        drift: Whether the steps of training clips move a random time, less than one step time, into
            the past.
        overlap: Which segment labels a step that several cover: the one that starts latest, or
            earliest, or the one that the public code of AVT takes (avt).
        short_past: What becomes of segments that start before anything may be seen: left out (drop)
            or given zeros (pad). Segments without labels are always padded.
        train_until: Seconds from the newest step of training clips to the start of their segment,
            where these go on beyond scored ones as RULSTM's do; null for the anticipation time.
        scored_clips: `strict`: end the anticipation time before their segment; `released`: go on as
            training clips do, as in RULSTM's public code, whose model looks back from them; steps
            before the video then repeat a frame that may lie later than the anticipation time.
        windows: How TeSTra looks at videos, in place of clips; `num_steps`, `step_time`, `drift`,
            `overlap` and `train_until` then say nothing. Null for clips.
        streams: Streams of features to read, in this order; null for all of the file.
        evaluate_on: Part that is scored, or predicted; `test` has no labels.
        batch_size: Training items per step and process.
        eval_batch_size: Items per step and process in validation, test and predict.
        num_workers: Processes that load data for each computing process; 0 for none, null for up to
            four beside a GPU.
        seed: Seed of the order and the drift of training items.
        validation_fraction: Share of the training videos to hold out for validation; 0 for none.
        drop_last: Whether the training items of an epoch that do not fill a batch are left out.
        limit_train_rows: Training segments to use, evenly spread over their list; null for all.
        limit_test_rows: Segments to score or predict, evenly spread; null for all.

    Raises:
        ConfigError: A setting out of range, or a split that the file does not have; windows and an
            anticipation time that is neither 0.5 nor 1.
        DataError: No file, or one of another data set.
    """

    measures: ClassVar[ShortTermMeasures | None] = None
    """Whose measures are computed; None for those that the subsets of the file allow."""

    def __init__(
        self,
        path: str,
        split: int = 1,
        anticipation_time: float = 1.0,
        num_steps: int = 30,
        step_time: float = 1.0,
        drift: bool = True,
        overlap: Overlap = "latest",
        short_past: ShortPast = "drop",
        train_until: float | None = None,
        scored_clips: ScoredClips = "strict",
        windows: TickWindows | None = None,
        streams: list[str] | None = None,
        evaluate_on: Literal["validation", "test"] = "validation",
        batch_size: int = 128,
        eval_batch_size: int = 256,
        num_workers: int | None = None,
        seed: int = 0,
        validation_fraction: float = 0.0,
        drop_last: bool = False,
        limit_train_rows: int | None = None,
        limit_test_rows: int | None = None,
    ) -> None:
        super().__init__(
            path, split, batch_size, eval_batch_size, num_workers, seed, validation_fraction
        )
        self.anticipation_time = anticipation_time
        self.num_steps = num_steps
        self.step_time = step_time
        self.drift = drift
        self.overlap = overlap
        self.short_past = short_past
        self.train_until = train_until
        self.scored_clips = scored_clips
        self.windows = windows
        self.streams = streams
        self.evaluate_on = evaluate_on
        self.drop_last = drop_last
        self.limit_train_rows = limit_train_rows
        self.limit_test_rows = limit_test_rows
        self._check_least(1, "num_steps", "limit_train_rows", "limit_test_rows")
        for setting in ("anticipation_time", "step_time"):
            if not 0.0 < getattr(self, setting) < float("inf"):
                raise ConfigError(f"{setting} is {getattr(self, setting)}: expected seconds > 0")
        if train_until is None and scored_clips == "released":
            raise ConfigError("scored_clips is released: it needs train_until, as RULSTM's 0.25")
        self.train_grid  # noqa: B018  refuses times that do not fit
        if windows is not None:
            anticipating_token(anticipation_time)

    @classmethod
    def add_release_options(cls, parser: argparse.ArgumentParser) -> None:
        """Declare where the release and its features lie.

        Args:
            parser: Parser of `anticipate prepare` for this data set.
        """
        add_short_term_options(parser)

    @cached_property
    def store(self) -> ShortTermStore:
        """The data file, opened when first needed."""
        return self._open(ShortTermStore, streams=self.streams)

    @staticmethod
    def collate(items: list[ClipItem] | list[TickItem]) -> ShortTermBatch | TickBatch:
        """Make a batch of some clips, or of some windows.

        Args:
            items: Items of a dataset.
        """
        windows = [item for item in items if isinstance(item, TickItem)]
        clips = [item for item in items if isinstance(item, ClipItem)]
        return collate_ticks(windows) if windows else collate_short_term(clips)

    @property
    def stream_dims(self) -> dict[str, int]:
        """Width of each stream that is read, in the order of the columns; empty where unnamed."""
        return dict(self.store.streams)

    @property
    def grid(self) -> StepGrid:
        """Moments at which a scored clip looks at its video, up to the anticipation time."""
        return StepGrid(self.num_steps, self.step_time, self.anticipation_time)

    @property
    def train_grid(self) -> StepGrid:
        """Moments at which a training clip looks: those of `grid`, and later ones.

        Raises:
            ConfigError: `train_until` is not whole steps after the anticipation time.
        """
        return self.grid if self.train_until is None else self.grid.until(self.train_until)

    @property
    def protocol(self) -> ShortTermProtocol:
        """What is scored, and on which segments and classes."""
        return self.store.protocol(self.measures)

    @cached_property
    def class_counts(self) -> tuple[int, ...]:
        """Training segments of each action, those that start too early to be anticipated as well.

        Note:
            `1 / sqrt(count + 1)` then is the file `action_weight.npy` of AGA's released code.
        """
        counts = np.bincount(self.train_segments.actions, minlength=self.num_classes)
        return tuple(counts.tolist())

    @cached_property
    def train_segments(self) -> SegmentTable:
        """Training segments of the videos that are not held out."""
        return self._train_part(held=False)

    @cached_property
    def val_segments(self) -> SegmentTable:
        """Training segments of the videos held out for validation."""
        return self._train_part(held=True)

    @cached_property
    def test_segments(self) -> SegmentTable:
        """Segments of the part that is scored, or predicted."""
        return self.store.rows(self.split, self.evaluate_on)

    @property
    def scored_part(self) -> str:
        """Which part of the segments is scored, in words; empty for all of them."""
        rows, released = self.limit_test_rows, len(self.test_segments)
        return f"{rows} of {released} segments" if rows and rows < released else ""

    @property
    def caveat(self) -> str:
        """Why scores stand in no table with others; empty by the rules of the challenges."""
        if self.windows is not None and self.windows.clock == "released":
            return "windows of TeSTra's public code"
        return "clips of RULSTM's public code" if self.scored_clips == "released" else ""

    @cached_property
    def train_dataset(self) -> ShortTermDataset | TickDataset:
        """Clips of the training segments, drifting when asked for."""
        return self._clips(
            self.train_segments, self.train_grid, self.short_past, self.limit_train_rows, True
        )

    @cached_property
    def val_dataset(self) -> ShortTermDataset | TickDataset:
        """Clips of the held-out training segments."""
        return self._clips(self.val_segments, self.grid, self.short_past)

    @cached_property
    def test_dataset(self) -> ShortTermDataset | TickDataset:
        """Clips of the segments to score or predict."""
        short_past = self.short_past if self.evaluate_on == "validation" else "pad"
        grid = self.train_grid if self.scored_clips == "released" else self.grid
        return self._clips(self.test_segments, grid, short_past, self.limit_test_rows)

    @property
    def test_clips(self) -> ShortTermDataset:
        """The same, for what looks at clips alone.

        Raises:
            ConfigError: The data have windows.
        """
        if not isinstance(self.test_dataset, ShortTermDataset):
            raise ConfigError(
                "the data have windows of TeSTra, which have no steps: expected clips"
            )
        return self.test_dataset

    def prepare_data(self) -> None:
        """Look for the split; Lightning asks before a logger writes into the run folder.

        Raises:
            ConfigError: A split or stream that the file does not have.
        """
        self.store.rows(self.split, "train")

    def setup(self, stage: str) -> None:
        """Check what the stage will read, and say what it is.

        Args:
            stage: `fit`, `validate`, `test` or `predict`.

        Raises:
            ConfigError: A split that the file does not have, segments without labels to score, or
                no segments for the stage.
            DataError: No file, or one of another data set.
        """
        if stage == "test" and self.evaluate_on == "test":
            raise ConfigError(
                "evaluate_on is test, whose labels are withheld: use `anticipate predict` and "
                "`anticipate export challenge`, or evaluate_on: validation"
            )
        if stage == "validate" and not self.validation_fraction:
            raise ConfigError("no videos to validate on: set validation_fraction, such as 0.1")
        if stage == "fit" and not len(self.train_dataloader()):
            raise ConfigError(
                f"batch_size {self.batch_size} with drop_last leaves none of the "
                f"{len(self.train_dataset)} training segments: lower it"
            )
        segments = _stage_segments(self, stage)
        caveat = ", synthetic features" if self.synthetic else ""
        rank_zero_only(notice)(f"{self.dataset}, split {self.split}: {segments}{caveat}")

    def train_dataloader(self) -> DataLoader:
        """Return batches of training clips in an order of the seed and the epoch."""
        dataset = self.train_dataset
        batches = LengthBuckets(
            np.full(len(dataset), self.num_steps),
            self.batch_size,
            self.seed,
            *self._process(),
            drop_last=self.drop_last,
        )
        return self._loader(dataset, batch_sampler=batches)

    def val_dataloader(self) -> list[DataLoader]:
        """Return a loader of held-out training clips; none when nothing is held out."""
        return [self._scoring_loader(self.val_dataset)] if self.validation_fraction else []

    def test_dataloader(self) -> DataLoader:
        """Return a loader of the clips to score or predict, in the order of the release."""
        return self._scoring_loader(self.test_dataset)

    predict_dataloader = test_dataloader

    def _train_part(self, held: bool) -> SegmentTable:
        rows = self.store.rows(self.split, "train")
        videos = tuple(dict.fromkeys(rows.video_ids))
        chosen = set(held_out(videos, str, self.validation_fraction))
        return rows.take(np.flatnonzero([(video in chosen) == held for video in rows.video_ids]))

    def _clips(
        self,
        segments: SegmentTable,
        grid: StepGrid,
        short_past: ShortPast,
        limit: int | None = None,
        training: bool = False,
    ) -> ShortTermDataset | TickDataset:
        usable = has_past(segments.starts, grid.lead_frames(self.store.fps))
        rows = np.flatnonzero(usable | (short_past == "pad"))
        chosen = rows[list(spread_positions(len(rows), limit))]
        if self.windows is not None:
            return TickDataset(
                self.store,
                segments,
                chosen,
                self.windows,
                self.anticipation_time,
                self.num_classes,
                self.seed if training else None,
            )
        drift_seed = self.seed if training and self.drift else None
        return ShortTermDataset(self.store, segments, chosen, grid, self.overlap, drift_seed)

    def _scoring_loader(self, dataset: ShortTermDataset | TickDataset) -> DataLoader:
        lengths = np.full(len(dataset), self.num_steps)
        return self._evaluation_loader(dataset, evaluation_order(lengths, *self._process()))


def _stage_segments(data: ShortTermDataModule, stage: str) -> str:
    """Say which segments a stage reads and what becomes of the others."""
    if stage == "fit":
        what = "training segments"
        training = _counted(what, data.train_dataset, data.train_segments, data.limit_train_rows)
        return f"{training}, {len(data.val_dataset) or 'none'} held out for validation"
    if stage == "validate":
        return _counted("held-out training segments", data.val_dataset, data.val_segments)
    what = f"{data.evaluate_on} segments"
    return _counted(what, data.test_dataset, data.test_segments, data.limit_test_rows)


def _counted(
    what: str,
    dataset: ShortTermDataset | TickDataset,
    segments: SegmentTable,
    limit: int | None = None,
) -> str:
    """Say how many of some segments have a clip, and why the others have none."""
    used, total = len(dataset), segments.num_rows
    if used == total:
        return f"all {total:,} {what}"
    reason = "evenly spread" if used == limit else "the others start too early to be anticipated"
    return f"{used:,} of {total:,} {what} ({reason})"
