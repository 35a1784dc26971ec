"""The frames of a video that the dense protocol scores, and how its ratios are written."""


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


def ratio_name(ratio: float) -> str:
    """Write a ratio as keys and data set names do: the shortest text that reads back equal.

    >>> ratio_name(0.2)
    '0.2'
    """
    return str(float(ratio))
