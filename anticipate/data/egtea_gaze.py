"""EGTEA Gaze+ (Li, Liu and Rehg, ECCV 2018)."""

from typing import Any

from anticipate.data.short_term_module import ShortTermDataModule


class EgteaGaze(ShortTermDataModule):
    """EGTEA Gaze+: 10,321 segments of 106 actions, three official splits that share videos.

    Args:
        path: HDF5 file made by `anticipate prepare egtea`.
        anticipation_time: Seconds from the newest step of a clip to the start of its segment; 0.5
            is customary here.
        **settings: Settings that all short-term data sets share.
    """

    dataset = "egtea"

    def __init__(
        self, path: str = "data/egtea.h5", anticipation_time: float = 0.5, **settings: Any
    ) -> None:
        super().__init__(path, anticipation_time=anticipation_time, **settings)
