"""EPIC-Kitchens-100 (Damen et al., IJCV 2022) and EPIC-Kitchens-55 (ECCV 2018)."""

from typing import Any

from anticipate.data.short_term_module import ShortTermDataModule


class EpicKitchens100(ShortTermDataModule):
    """EPIC-Kitchens-100: 67,217 training and 9,668 validation segments of 3,806 actions.

    Scored are all segments, those of participants who are not in training, and tail classes. With
    the default times 30 validation segments start too early to be anticipated.

    Args:
        path: HDF5 file made by `anticipate prepare ek100`.
        **settings: Settings that all short-term data sets share.
    """

    dataset = "ek100"

    def __init__(self, path: str = "data/ek100.h5", **settings: Any) -> None:
        super().__init__(path, **settings)


class EpicKitchens55(ShortTermDataModule):
    """EPIC-Kitchens-55: 23,493 training and 4,979 validation segments of 2,513 actions.

    The division of the public training set is that of RULSTM.

    Args:
        path: HDF5 file made by `anticipate prepare ek55`.
        **settings: Settings that all short-term data sets share.
    """

    dataset = "ek55"

    def __init__(self, path: str = "data/ek55.h5", **settings: Any) -> None:
        super().__init__(path, **settings)
