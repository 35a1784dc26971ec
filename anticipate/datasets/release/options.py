"""Options shared by the public releases."""

import argparse
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from anticipate.errors import ConfigError
from anticipate.files import check_name

FEATURE_DIM = 2048
"""Width of the published features: I3D (two streams of 1024) and TSM."""
FEATURE_DIMS = {"rgb": 1024, "flow": 1024, "obj": 352}
"""Streams of RULSTM and the width of their features."""
STORED_FPS = Fraction(4)
"""Rows per second that short-term releases store."""


def add_dense_options(parser: argparse.ArgumentParser) -> None:
    """Declare where a dense release lies and where its features come from."""
    parser.add_argument(
        "--source", type=folder, required=True, metavar="DIR", help="folder of the public release"
    )
    features = parser.add_mutually_exclusive_group()
    features.add_argument(
        "--features", type=folder, metavar="PATH", help="feature folder (default: DIR/features)"
    )
    features.add_argument(
        "--synthesize-features",
        action="store_true",
        help="make features from the labels instead of reading them; the file is marked synthetic",
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="leave out videos whose label or feature file is missing, and count them in the file",
    )
    parser.add_argument(
        "--layout",
        choices=["channels-first", "frames-first"],
        help="first axis of square feature arrays (default: as the others show)",
    )
    add_stride(parser)
    parser.set_defaults(feature_dim=FEATURE_DIM)


def add_short_term_options(parser: argparse.ArgumentParser) -> None:
    """Declare where a release lies and where its features come from."""
    add = parser.add_argument
    add("--source", type=folder, required=True, metavar="DIR", help="folder with the CSV files")
    features = parser.add_mutually_exclusive_group(required=True)
    features.add_argument(
        "--features",
        type=folder,
        action="append",
        metavar="DIR",
        help="LMDB, folder of one .npy per video, or folder with one of these per stream; given "
        "several times: one for each stream or, for a single stream, side by side in that order",
    )
    features.add_argument(
        "--synthesize-features",
        action="store_true",
        help="make features from the labels instead of reading them; the file is marked synthetic",
    )
    add_streams(parser, "rgb")
    add(
        "--array-fps",
        type=_stored_fps,
        metavar="R",
        help="rows per second of .npy files: row t is frame 1 + floor(30 t / R)",
    )
    add(
        "--native-fps",
        type=Path,
        metavar="CSV",
        help="EPIC_100_video_info.csv, for LMDBs that count frames at the native rate of a video",
    )
    add_fps(parser)


def add_stride(parser: argparse.ArgumentParser) -> None:
    """Declare how many frames of a dense data set are stored."""
    parser.add_argument(
        "--stride",
        type=positive,
        default=1,
        metavar="N",
        help="store features of frames 0, N, 2N ..; labels stay at full rate (default: 1)",
    )


def add_streams(parser: argparse.ArgumentParser, *default: str) -> None:
    """Declare which streams of features stand side by side.

    Args:
        parser: Parser of `anticipate prepare`.
        default: Streams without the option; none for a single unnamed one.
    """
    parser.add_argument(
        "--stream",
        nargs="+",
        default=default,
        metavar="NAME[=WIDTH]",
        help="streams of features to store side by side, such as rgb flow obj; widths are "
        f"--feature-dim or else {', '.join(f'{n} {w}' for n, w in FEATURE_DIMS.items())}"
        + (f" (default: {' '.join(default)})" if default else ""),
    )


def stream_widths(words: Sequence[str]) -> dict[str, int | None]:
    """Return the streams that the command line names, and the widths that it gives them.

    Args:
        words: `NAME` or `NAME=WIDTH` each.

    Raises:
        ConfigError: A name is empty or given twice, or a width is no positive integer.
    """
    streams: dict[str, int | None] = {}
    for word in words:
        name, equals, width = word.partition("=")
        if check_name(name, f"--stream {word}: the name", ConfigError) in streams:
            raise ConfigError(f"--stream names '{name}' twice: give each stream its own name")
        if equals and not (width.isdecimal() and int(width)):
            raise ConfigError(f"--stream {word}: expected a width of at least 1 after '='")
        streams[name] = int(width) if equals else None
    return streams


def add_fps(parser: argparse.ArgumentParser) -> None:
    """Declare how many frames of a short-term data set are stored."""
    parser.add_argument(
        "--fps",
        type=_stored_fps,
        default=STORED_FPS,
        metavar="R",
        help="feature rows to store per second, at most 30; a moment between two rows reads the "
        "one before (default: 4)",
    )


def folder(text: str) -> Path:
    """Read the name of a folder that is there."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"no such folder: {text}")
    return path


def positive(text: str) -> int:
    """Read an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, not {text}")
    return value


def not_negative(text: str) -> float:
    """Read a finite number from 0 on."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, not {text}")
    return value


def _stored_fps(text: str) -> Fraction:
    value = Fraction(text)
    if not Fraction(1, 60) <= value <= 30:
        raise argparse.ArgumentTypeError(f"expected 1/60 to 30 rows per second, not {text}")
    return value
