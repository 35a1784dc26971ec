"""Parts of a split: training videos held out for validation, test videos for a quicker look."""

from collections.abc import Callable

import numpy as np

from anticipate.errors import ConfigError


def held_out(
    video_ids: tuple[str, ...], group_of: Callable[[str], str], fraction: float
) -> tuple[str, ...]:
    """Choose whole groups of training videos for validation, the same ones in every run.

    Args:
        video_ids: Training videos of one split.
        group_of: Name of what must stay together, such as the person whom several cameras see.
        fraction: Share of the groups to hold out; at least one group unless it is 0.

    Raises:
        ConfigError: Nothing would be left to train on.
    """
    groups = sorted({group_of(video_id) for video_id in video_ids})
    count = max(round(fraction * len(groups)), 1) if fraction else 0
    if count and count >= len(groups):
        raise ConfigError(
            f"validation_fraction {fraction} holds out {count} of {len(groups)} groups of training "
            "videos: lower it, so that one is left to train on"
        )
    chosen = {groups[i] for i in np.random.default_rng(0).permutation(len(groups))[:count]}
    return tuple(video_id for video_id in video_ids if group_of(video_id) in chosen)


def spread(video_ids: tuple[str, ...], limit: int | None) -> tuple[str, ...]:
    """Choose videos at even distances from the sorted list.

    Args:
        video_ids: Videos to choose from.
        limit: Videos to keep; all when None or when there are fewer.
    """
    ordered = sorted(video_ids)
    return tuple(ordered[position] for position in spread_positions(len(ordered), limit))


def spread_positions(total: int, limit: int | None) -> tuple[int, ...]:
    """Choose positions at even distances from a list.

    Args:
        total: Length of the list.
        limit: Positions to keep; all when None or when there are fewer.
    """
    count = total if limit is None else min(limit, total)
    return tuple(position * total // count for position in range(count))
