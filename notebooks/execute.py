"""Run notebooks and write them back with their outputs: `make notebooks`.

Nothing of the machine is kept: no times of cells, no version of Python, no warnings about widgets.
"""

import base64
import io
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

NO_WIDGETS = "ignore:IProgress not found"
"""Without ipywidgets progress bars warn, with the path of a file of the installation."""
MOST_BYTES = 100_000
"""Pictures beyond this are reduced to 256 colours."""


def execute(path: Path) -> None:
    """Run one notebook in place.

    Args:
        path: The notebook.
    """
    notebook = nbformat.read(path, as_version=4)
    language = dict(notebook.metadata.language_info)
    NotebookClient(notebook, timeout=1200, record_timing=False, coalesce_streams=True).execute()
    notebook.metadata.language_info = language
    tidy(notebook)
    nbformat.write(notebook, path)


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Drop outputs that show nothing, and reduce large pictures.

    Args:
        notebook: Changed in place.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not empty(output)]
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = reduced(output.data["image/png"])


def empty(output: nbformat.NotebookNode) -> bool:
    """Return whether an output shows nothing, as a finished progress bar does."""
    texts = "data" in output and set(output.data) <= {"text/plain", "text/html"}
    return texts and not output.data.get("text/plain", "").strip()


def reduced(encoded: str) -> str:
    """Return a picture in at most `MOST_BYTES`, in base64."""
    content = base64.b64decode(encoded)
    if len(content) <= MOST_BYTES:
        return encoded
    target = io.BytesIO()
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    rare_kept = picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    rare_kept.save(target, "PNG", optimize=True)
    return base64.b64encode(target.getvalue()).decode()


if __name__ == "__main__":
    os.environ["PYTHONWARNINGS"] = NO_WIDGETS
    for argument in sys.argv[1:]:
        execute(Path(argument))
