"""Labels of the observed part for models that see labels alone: of the annotation or predicted."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from anticipate.console import name_some
from anticipate.errors import DataError
from anticipate.horizons import observed_frames, ratio_name
from anticipate.models.dense_anticipator import DenseAnticipator
from anticipate.protocol.dense_baselines import majority
from anticipate.protocol.dense_predictions import DensePredictionsReader
from anticipate.types import DenseBatch

Labels = Int[np.ndarray, " observed_frames"]

PREDICTED_BY = "labels predicted by {}"


class Observation(ABC):
    """A source of labels."""

    name: str
    """What tables call it."""

    @abstractmethod
    def labels(self, batch: DenseBatch) -> list[Labels]:
        """Return the class of each observed frame of each video."""

    def check(self, data: Any, video_ids: Iterable[str]) -> None:  # noqa: B027 most cannot fail
        """See, before anything is computed, that it has labels of some videos.

        Args:
            data: Data module of the videos.
            video_ids: Videos, each observed at all ratios of the data.
        """


class GroundTruth(Observation):
    """The annotation, which no model of features has."""

    name = "ground truth"

    def labels(self, batch: DenseBatch) -> list[Labels]:
        """Return the annotated labels."""
        return [
            targets[: observed_frames(int(num_frames), ratio)].cpu().numpy()
            for targets, num_frames, ratio in zip(
                batch.frame_targets, batch.num_frames, batch.obs_ratios, strict=True
            )
        ]


class FileLabels(Observation):
    """The majority of the samples in a predictions file, its observed part alone.

    Args:
        path: File of `anticipate predict`, or one laid out like it.
        num_classes: Classes of the data set.

    Raises:
        DataError: The file is missing, damaged or laid out in another way.
    """

    def __init__(self, path: Path, num_classes: int) -> None:
        self.path, self.num_classes = path, num_classes
        self._file = DensePredictionsReader(path)
        self.name = PREDICTED_BY.format(self._file.attributes.get("method", path.name))

    def labels(self, batch: DenseBatch) -> list[Labels]:
        """Return the predicted labels.

        Raises:
            DataError: The file has none of a video, or other classes.
        """
        rows = zip(batch.video_ids, batch.num_frames.tolist(), batch.obs_ratios, strict=True)
        return [self._read(*row) for row in rows]

    def check(self, data: Any, video_ids: Iterable[str]) -> None:
        """See that the file has labels of some videos.

        Raises:
            DataError: It is of another data set or split, lacks a video, or has other classes.
        """
        for name in ("dataset", "split"):
            found, here = self._file.attributes.get(name), getattr(data, name)
            if found is not None and str(found) != str(here):
                raise DataError(
                    f"{self.path} holds predictions for {name} {found}, here {here}: predict with "
                    "the data that is to be observed"
                )
        pairs = [(video, ratio) for video in video_ids for ratio in data.obs_ratios]
        absent = [f"{v}/obs_{ratio_name(r)}" for v, r in pairs if not self._file.has(v, r)]
        if absent:
            raise DataError(
                f"{self.path} lacks {len(absent)} of {len(pairs)} observations: "
                f"{name_some(absent)}: predict all videos and ratios that are to be observed"
            )
        for video, ratio in pairs:
            self._read(video, data.store.num_frames(video), ratio)

    def _read(self, video_id: str, num_frames: int, ratio: float) -> Labels:
        what = f"{self.path}: {video_id}/obs_{ratio_name(ratio)}"
        if not self._file.has(video_id, ratio):
            raise DataError(f"{what} is missing: predict all videos that are to be observed")
        preds, past = self._file.read(video_id, ratio), observed_frames(num_frames, ratio)
        if preds.ndim != 2 or preds.dtype.kind not in "iu" or not len(preds):
            raise DataError(
                f"{what} is {preds.dtype} {preds.shape}: expected integers (samples, frames)"
            )
        if preds.shape[1] < past:
            raise DataError(
                f"{what} ends at frame {preds.shape[1]}, inside the {past} observed frames: "
                "expected labels from the first frame of the video to the end of the observation"
            )
        seen = preds[:, :past].astype(np.int64)
        if not 0 <= seen.min() <= seen.max() < self.num_classes:
            raise DataError(
                f"{what} has classes {seen.min()} to {seen.max()}, here they are 0 to "
                f"{self.num_classes - 1}: take predictions of the same data set"
            )
        return majority(torch.from_numpy(seen)).numpy()


class RunLabels(Observation):
    """The majority of the samples that another model draws for the same batch.

    Args:
        model: A model of features in evaluation mode.
    """

    def __init__(self, model: DenseAnticipator) -> None:
        self._model = model
        self.name = PREDICTED_BY.format(model.method)

    def labels(self, batch: DenseBatch) -> list[Labels]:
        """Return the predicted labels."""
        model = self._model.to(batch.targets.device)
        preds = model.forecast(batch).preds
        past = map(observed_frames, batch.num_frames.tolist(), batch.obs_ratios)
        return [majority(preds[:, row, :frames]).numpy() for row, frames in enumerate(past)]
