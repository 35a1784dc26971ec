"""Counts of a release beside the published ones."""

from collections.abc import Mapping

from anticipate.console import notice


def compare_counts(
    dataset: str,
    found: Mapping[str, int],
    published: Mapping[str, int],
    known_as: str | None = None,
) -> dict[str, str]:
    """Tell where the counts of a release differ, and return it as notes of the data file.

    Args:
        dataset: Name of the release.
        found: Counts by what was counted.
        published: What the published release has.
        known_as: Name of a copy that is known to have these counts.
    """
    differences = [
        f"{found[what]:,} {what} (published: {count:,})"
        for what, count in published.items()
        if found[what] != count
    ]
    if not differences:
        return {}
    text = ", ".join(differences) + (f"; this is {known_as}" if known_as else "")
    notice(f"{dataset}: {text}")
    return {"counts_differ": text}
