"""Fixtures that several parts of the tests need."""

from pathlib import Path

import pytest

from anticipate.data.prepare import main


@pytest.fixture(scope="session")
def synthetic_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic data file: 24 videos, 20 classes, 16 features, 10 fps, splits 1 and 2."""
    path = tmp_path_factory.mktemp("data") / "synthetic.h5"
    main(["prepare", "synthetic", "--output", str(path), "--videos", "24", "--feature-dim", "16"])
    return path
