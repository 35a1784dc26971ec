"""One name per score of a nested scores document, for logs and table columns."""

from collections.abc import Mapping
from typing import Any


def named_scores(scores: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the scores of a document by the path to each, its parts joined by `/`.

    Counts are no scores: whole numbers are left out.

    >>> named_scores({"overall": {"verb": 30.0, "noun": 31.5}, "num_scored": 9668})
    {'overall/verb': 30.0, 'overall/noun': 31.5}
    """
    named: dict[str, float] = {}
    for key, value in scores.items():
        if isinstance(value, Mapping):
            named |= named_scores(value, f"{prefix}{key}/")
        elif isinstance(value, float):
            named[f"{prefix}{key}"] = value
    return named
