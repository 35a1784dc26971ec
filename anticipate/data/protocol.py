"""What a short-term data set scores."""

from typing import Literal

from anticipate.data.short_term_store import ShortTermStore
from anticipate.types import ShortTermProtocol

MEASURES: dict[str, Literal["ek100", "ek55", "egtea"]] = {
    "ek100": "ek100",
    "ek55": "ek55",
    "egtea": "egtea",
    "synthetic_actions": "ek100",
}
"""Whose tables are computed for each data set."""


def short_term_protocol(store: ShortTermStore) -> ShortTermProtocol:
    """Return the protocol of a data file.

    Args:
        store: The data file; it is read and may be closed afterwards.
    """
    return ShortTermProtocol(
        MEASURES[store.dataset], store.taxonomy, store.subsets, store.class_subsets
    )
