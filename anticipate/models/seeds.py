"""Seeds that follow from what they are for, not from what was drawn before."""

import zlib

from anticipate.types import DenseBatch


def seed_of(*parts: object) -> int:
    """Return a seed that is the same on every machine for the same parts."""
    return zlib.crc32(repr(parts).encode())


def forecast_seeds(seed: int, batch: DenseBatch) -> list[int]:
    """Return a seed for the futures of each row: it follows from the video and its ratio alone."""
    rows = zip(batch.video_ids, batch.obs_ratios, strict=True)
    return [seed_of(seed, "forecast", video_id, ratio) for video_id, ratio in rows]
