"""Run notebooks and write them back with their outputs: `make notebooks`.

Nothing of the machine is kept: no times of cells, no version of Python, no warnings about widgets.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NO_WIDGETS = "ignore:IProgress not found"
"""Without ipywidgets progress bars warn, with the path of a file of the installation."""


def execute(path: Path) -> None:
    """Run one notebook in place.

    Args:
        path: The notebook.
    """
    notebook = nbformat.read(path, as_version=4)
    language = dict(notebook.metadata.language_info)
    NotebookClient(notebook, timeout=1200, record_timing=False, coalesce_streams=True).execute()
    notebook.metadata.language_info = language
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not empty(output)]
    nbformat.write(notebook, path)


def empty(output: nbformat.NotebookNode) -> bool:
    """Return whether an output shows nothing, as a finished progress bar does."""
    return (
        "data" in output
        and set(output.data) <= {"text/plain", "text/html"}
        and not (output.data.get("text/plain", "").strip())
    )


if __name__ == "__main__":
    os.environ["PYTHONWARNINGS"] = NO_WIDGETS
    for argument in sys.argv[1:]:
        execute(Path(argument))
