"""50Salads: 25 persons prepare two mixed salads each (Stein and McKenna, UbiComp 2013)."""

import argparse
from typing import Any

from anticipate.datasets.batches.dense_module import DenseDataModule
from anticipate.datasets.release import mstcn
from anticipate.datasets.release.releases import DenseRelease, FeatureSource

__all__ = ["Salads50"]


class Salads50(DenseDataModule):
    """50Salads: 50 videos, 19 classes at 30 frames per second, 5 splits of 40 and 10 videos.

    Videos last 6.4 minutes on average (7,555 to 18,143 frames) and have 20 segments. The classes
    are the 17 actions of the mid granularity and `action_start` and `action_end`, which count like
    any other.

    Args:
        path: HDF5 file made by `anticipate prepare 50salads`.
        sample_rate: Frames per token; 6 is 5 tokens per second. A multiple of the file's stride.
        **settings: Settings that all dense data sets share.
    """

    dataset = "50salads"
    title = "50Salads"
    release = "50Salads in the layout of MS-TCN"
    num_actions = 19
    published = mstcn.Published(
        fps=30.0,
        num_videos=50,
        num_classes=num_actions,
        split_sizes={str(k): (40, 10) for k in range(1, 6)},
    )

    def __init__(
        self, path: str = "data/50salads.h5", sample_rate: int = 6, **settings: Any
    ) -> None:
        super().__init__(path, sample_rate, **settings)

    @staticmethod
    def group_of(video_id: str) -> str:
        """Return the person, who makes two salads: rgb-01 of rgb-01-1.

        Args:
            video_id: Video of 50Salads.
        """
        return video_id.rsplit("-", 1)[0]

    @staticmethod
    def activity_of(video_id: str) -> str:
        """Return the one activity of the data set.

        Args:
            video_id: Video of 50Salads.
        """
        return "salad"

    @classmethod
    def read_release(cls, options: argparse.Namespace) -> tuple[DenseRelease, FeatureSource]:
        """Read the release and find its features.

        Raises:
            DataError: A file is missing, damaged or does not fit the others.
        """
        return mstcn.read_with_features(cls.dataset, cls.published, cls.activity_of, options)
