"""Options shared by the public releases."""

import argparse
from pathlib import Path

FEATURE_DIM = 2048
"""Width of the published features: I3D (two streams of 1024) and TSM."""


def add_release_options(parser: argparse.ArgumentParser) -> None:
    """Declare where a release lies and where its features come from."""
    parser.add_argument(
        "--source", type=_folder, required=True, metavar="DIR", help="folder of the public release"
    )
    features = parser.add_mutually_exclusive_group()
    features.add_argument(
        "--features", type=_folder, metavar="PATH", help="feature folder (default: DIR/features)"
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
    parser.set_defaults(feature_dim=FEATURE_DIM)


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"no such folder: {text}")
    return path
