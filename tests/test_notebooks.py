"""The notebooks run from a clean checkout, and stand in it without their results."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@each_notebook
def test_results_are_not_kept(path):
    for cell in code_cells(nbformat.read(path, as_version=4)):
        assert cell.outputs == []
        assert cell.execution_count is None
        assert cell.metadata == {}


@each_notebook
def test_runs_and_shows_pictures_and_tables(path, tmp_path, monkeypatch):
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    started_in = tmp_path / "elsewhere"
    started_in.mkdir()
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(started_in)}}
    NotebookClient(notebook, timeout=600, resources=resources).execute()
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert "image/png" in kinds
    assert "text/html" in kinds
    assert list(started_in.iterdir()) == []
