"""The synthetic data set that `anticipate prepare synthetic` makes."""

from typing import Any

from anticipate.data.datamodule import DenseDataModule


class Synthetic(DenseDataModule):
    """A small made-up data set with an action grammar, for the demo, tests and notebooks.

    Args:
        path: HDF5 file made by `anticipate prepare synthetic`.
        sample_rate: Frames per token; 10 is one token per second. A multiple of the file's stride.
        **settings: Settings that all dense data sets share.
    """

    dataset = "synthetic"
    prepare_options = ""

    def __init__(
        self, path: str = "data/synthetic.h5", sample_rate: int = 10, **settings: Any
    ) -> None:
        super().__init__(path, sample_rate, **settings)

    @staticmethod
    def group_of(video_id: str) -> str:
        """Return the person, by whom the splits are made: the part of the id before the first `_`.

        Args:
            video_id: Video of the synthetic data set.
        """
        return video_id.split("_")[0]
