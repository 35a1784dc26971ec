"""Assembly101: people take toy vehicles apart and build them (Sener et al., CVPR 2022)."""

import re
from typing import Any

from anticipate.data.datamodule import DenseDataModule

_ACTIVITY_AND_VIEW = re.compile(r"^(dis)?assembly_|_(C\d+_rgb|HMC_\d+_mono10bit)$")


class Assembly101(DenseDataModule):
    """Assembly101: 4,684 training and 1,424 test videos, 202 coarse classes, 30 frames per second.

    Split 1, the only one, tests on the official validation part, as the labels of the official test
    part are withheld. Each of the 12 or so views of a sequence is a video of its own. Videos last 7
    minutes on average and up to 30; some have no features at their end.

    Args:
        path: HDF5 file made by `anticipate prepare assembly101`.
        sample_rate: Frames per token; 6 is 5 tokens per second. A multiple of the file's stride.
        **settings: Settings that all dense data sets share.
    """

    dataset = "assembly101"

    def __init__(
        self, path: str = "data/assembly101.h5", sample_rate: int = 6, **settings: Any
    ) -> None:
        super().__init__(path, sample_rate, **settings)

    @staticmethod
    def group_of(video_id: str) -> str:
        """Return the recording, of which a video is one view of the assembly or disassembly.

        Args:
            video_id: Video of Assembly101: `(dis)assembly_RECORDING_VIEW`.
        """
        return _ACTIVITY_AND_VIEW.sub("", video_id)
