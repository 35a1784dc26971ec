"""The notebooks are committed as they ran, and run from a clean checkout."""

import base64
import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
MOST_BYTES = 100_000
"""Of one committed picture."""
ABSOLUTE = re.compile(r"(?<![\w.:/])(?:[A-Z]:\\|/(?:\w[\w.-]*/)+\w)")
"""A path of the machine that ran a notebook."""


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs_of(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def assert_shows_pictures_and_tables(notebook):
    kinds = [kind for output in outputs_of(notebook) for kind in output.get("data", {})]
    assert "image/png" in kinds
    assert "text/html" in kinds


@each_notebook
def test_every_cell_was_run_in_order_without_an_error(path):
    notebook = nbformat.read(path, as_version=4)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert all(output.output_type != "error" for output in outputs_of(notebook))
    assert_shows_pictures_and_tables(notebook)


@each_notebook
def test_outputs_are_small_and_tell_nothing_of_the_machine(path):
    notebook = nbformat.read(path, as_version=4)
    assert all(cell.metadata == {} for cell in code_cells(notebook))
    for output in outputs_of(notebook):
        data = dict(output.get("data", {}))
        assert len(base64.b64decode(data.pop("image/png", ""))) <= MOST_BYTES
        text = json.dumps([data, output.get("text")])
        found = ABSOLUTE.search(re.sub(r"</?\w+[^>]*>", " ", text))
        assert found is None, f"{path.name} shows {found[0]}"


SHORTER = (
    (r"(max_epochs[ =])\d+", r"\g<1>1"),
    (r"(--videos) \d+", r"\1 24"),
    (r"(--num_clips) \d+", r"\1 2"),
    (r"(--data.num_steps) \d+", r"\1 6"),
    (r"(--data.limit_test_videos) \d+", r"\1 4"),
    (r"prepare synthetic_actions ", r"\g<0>--videos 20 --segments 42 "),
)
"""What makes the trainings of a notebook as short as they can be."""
RERUN = [path for path in NOTEBOOKS if path.stem[:2] in ("01", "03")]
"""One of each task; `make notebooks` runs all, `test_from_outside` what the fifth shows."""


@pytest.mark.slow
def test_run_and_show_pictures_and_tables(tmp_path, monkeypatch):
    """One kernel runs them one after the other, for most of a short notebook is its imports."""
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    started_in = tmp_path / "elsewhere"
    started_in.mkdir()
    parts = []
    for path in RERUN:
        cells = code_cells(nbformat.read(path, as_version=4))
        for cell in cells:
            for pattern, instead in SHORTER:
                cell.source = re.sub(pattern, instead, cell.source)
        parts.append(nbformat.v4.new_notebook(cells=cells))
    forget = nbformat.v4.new_code_cell("%reset -f")
    everything = [cell for part in parts for cell in (*part.cells, forget)]
    resources = {"metadata": {"path": str(started_in)}}
    together = nbformat.v4.new_notebook(cells=everything)
    NotebookClient(together, timeout=600, resources=resources).execute()
    for part in parts:
        assert_shows_pictures_and_tables(part)
    assert list(started_in.iterdir()) == []
