"""50Salads: 25 persons prepare two mixed salads each (Stein and McKenna, UbiComp 2013)."""

from typing import Any

from anticipate.data.datamodule import DenseDataModule


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
