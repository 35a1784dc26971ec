"""`metrics.json`: what a test leaves in its run folder for reports and sweeps."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anticipate import __version__
from anticipate.console import finite

NAME = "metrics.json"


def write_metrics(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write the results of a test at once, under a temporary name first; NaN becomes null.

    Args:
        folder: Run folder; made where it is missing.
        document: `kind` ("dense" or "short_term"), `dataset`, `split`, `seed`, `synthetic`,
            `checkpoint`, `scores` by method, `efficiency`; the version is added here.

    Returns:
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, partial = folder / NAME, folder / f"{NAME}.partial"
    text = json.dumps(finite({"version": __version__, **document}), indent=2)
    partial.write_text(text + "\n")
    partial.replace(path)
    return path
