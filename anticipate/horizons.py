"""From ratios of a video to frames: what is observed, what is labelled, what is scored.

All counts follow the released protocol to the last frame: ratios are added in floating point first,
and the product with the video length is truncated, never rounded.
"""

from anticipate.errors import ConfigError

FUTURE_RATIO = 0.5
"""Share of the whole video that is anticipated: the longest prediction ratio of the protocol."""


def check_ratios(setting: str, ratios: tuple[float, ...], limit: float = 1.0) -> None:
    """Refuse ratios of a video that mean nothing.

    Args:
        setting: Name of the setting, for the message.
        ratios: Shares of the whole video.
        limit: Largest ratio that is allowed; 1.0 itself is not, as nothing would be left.

    Raises:
        ConfigError: No ratio, one given twice, or one outside (0, limit].
    """
    if not ratios or len(set(ratios)) != len(ratios):
        raise ConfigError(f"{setting} is {list(ratios)}: expected one or more different ratios")
    for ratio in ratios:
        if not 0.0 < ratio <= limit or ratio >= 1.0:
            end = "1)" if limit == 1.0 else f"{limit}]"
            raise ConfigError(
                f"{setting} has {ratio}: expected shares of the video in (0, {end}, such as 0.2"
            )


def observed_frames(num_frames: int, obs_ratio: float) -> int:
    """Return how many frames of a video are observed.

    Args:
        num_frames: Length T of the video.
        obs_ratio: Observed share alpha of the video.
    """
    return int(obs_ratio * num_frames)


def target_frames(num_frames: int, obs_ratio: float) -> int:
    """Return how many frames, observed and future together, a network labels.

    Args:
        num_frames: Length T of the video.
        obs_ratio: Observed share alpha of the video.
    """
    return min(int((obs_ratio + FUTURE_RATIO) * num_frames), num_frames)


def num_tokens(num_frames: int, sample_rate: int) -> int:
    """Return how many of the frames 0, sample_rate, 2 sample_rate .. lie below `num_frames`.

    Args:
        num_frames: Frames at the annotation rate.
        sample_rate: Frames per token; the last token may stand for fewer.
    """
    return -(-num_frames // sample_rate)


def evaluation_window(num_frames: int, obs_ratio: float, pred_ratio: float) -> tuple[int, int]:
    """Return the half-open range of scored frames for one horizon.

    Ratios are shares of the whole video. As in the released evaluations of the field, the ratios
    are added as floats and the product is truncated: 90 frames observed to 0.2 and anticipated for
    0.5 end at frame 62, because 0.7 * 90 is 62.99999999999999.

    Args:
        num_frames: Length T of the video at the annotation rate.
        obs_ratio: Observed share alpha of the video.
        pred_ratio: Share beta of the video to anticipate.

    Returns:
        First scored frame `int(alpha T)` and the end `min(int((beta + alpha) T), T)`.

    >>> evaluation_window(1000, 0.2, 0.5)
    (200, 700)
    >>> evaluation_window(90, 0.2, 0.5)
    (18, 62)
    """
    past = int(obs_ratio * num_frames)
    return past, min(int((pred_ratio + obs_ratio) * num_frames), num_frames)


def future_window(num_frames: int, obs_ratio: float) -> tuple[int, int]:
    """Return the half-open range of frames that FUTR anticipates: half a video.

    It starts where the observation ends. As its length is truncated by itself, it can end one frame
    before the longest horizon, or after it.

    Args:
        num_frames: Length T of the video.
        obs_ratio: Observed share alpha of the video.

    >>> future_window(90, 0.2), evaluation_window(90, 0.2, 0.5)
    ((18, 63), (18, 62))
    """
    past = observed_frames(num_frames, obs_ratio)
    return past, min(past + int(FUTURE_RATIO * num_frames), num_frames)


def ratio_name(ratio: float) -> str:
    """Write a ratio as keys and data set names do: the shortest text that reads back equal.

    >>> ratio_name(0.2)
    '0.2'
    """
    return str(float(ratio))
