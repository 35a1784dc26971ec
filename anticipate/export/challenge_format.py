"""What the EPIC-Kitchens action anticipation challenges accept.

A zip archive of JSON documents. Each has `version`, `challenge`, in EK-100 the supervision levels,
and `results`: for each test segment a score of every `verb`, of every `noun`, and of exactly 100
actions keyed "verb,noun".
"""

from typing import NamedTuple

NAME = "action_anticipation"
LEVELS = {
    "sls_pt": "supervision level of the pre-training",
    "sls_tl": "supervision level of the training labels",
    "sls_td": "supervision level of the training data",
}
"""Supervision levels, which must be told, and what they mean."""

NUM_LEVELS = 6
NUM_ACTIONS = 100


class Challenge(NamedTuple):
    """One edition of the challenge."""

    version: str
    members: dict[str, str | None]
    """Documents at the root of the archive, and the subset of the test segments that each holds;
    None for all."""
    num_verbs: int
    num_nouns: int
    has_levels: bool


CHALLENGES = {
    "ek100": Challenge("0.2", {"test.json": None}, 97, 300, has_levels=True),
    "ek55": Challenge(
        "0.1",
        {"seen.json": "test_seen", "unseen.json": "test_unseen"},
        125,
        352,
        has_levels=False,
    ),
}
"""Editions by data set."""
