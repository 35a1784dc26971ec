"""Breakfast: ten breakfast dishes in 18 kitchens (Kuehne, Arslan and Serre, CVPR 2014)."""

from typing import Any

from anticipate.data.datamodule import DenseDataModule


class Breakfast(DenseDataModule):
    """Breakfast: 1,712 videos of 52 persons, 48 classes, 15 frames per second, 4 splits by person.

    Videos last 2.3 minutes on average (130 to 9,741 frames) and have 6.8 segments. Up to five
    cameras see one performance. The class `SIL`, which opens every video, counts like any other.

    Args:
        path: HDF5 file made by `anticipate prepare breakfast`.
        sample_rate: Frames per token; 3 is 5 tokens per second. A multiple of the file's stride.
        **settings: Settings that all dense data sets share.
    """

    dataset = "breakfast"

    def __init__(
        self, path: str = "data/breakfast.h5", sample_rate: int = 3, **settings: Any
    ) -> None:
        super().__init__(path, sample_rate, **settings)

    @staticmethod
    def group_of(video_id: str) -> str:
        """Return the person, by whom the official splits are made: P03 of P03_cam01_P03_cereals.

        Args:
            video_id: Video of Breakfast.
        """
        return video_id.split("_")[0]
