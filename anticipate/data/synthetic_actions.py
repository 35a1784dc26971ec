"""The synthetic data set that `anticipate prepare synthetic_actions` makes."""

from typing import Any

from anticipate.data.short_term_module import ShortTermDataModule


class SyntheticActions(ShortTermDataModule):
    """A small made-up data set of short segments, for the demo, tests and notebooks.

    Args:
        path: HDF5 file made by `anticipate prepare synthetic_actions`.
        **settings: Settings that all short-term data sets share.
    """

    dataset = "synthetic_actions"
    prepare_options = ""

    def __init__(self, path: str = "data/synthetic_actions.h5", **settings: Any) -> None:
        super().__init__(path, **settings)
