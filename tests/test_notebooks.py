"""The tutorials: each runs from top to bottom in an empty folder, and lies in the repository without outputs."""

import json
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
NOTEBOOKS = sorted((DOCS / "tutorials").glob("*.ipynb"))


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["first-prediction", "own-classes", "paper-in-small"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path):
    notebook = json.loads(path.read_text("utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert notebook["cells"][0]["source"][0].startswith("# ")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")  # the kernel's own; those of our code are in its own process
def test_notebooks_run(path, monkeypatch):
    pytest.importorskip("nbclient", reason="the extra `docs` is not installed")
    if path.stem != "first-prediction":
        pytest.importorskip("torch", reason="the extra `train` is not installed")
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    from notebooks import executed, markdown

    notebook = executed(path)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert outputs
    assert not any(output.output_type == "error" for output in outputs)
    page = markdown(notebook)
    assert '<div class="tuningfork">' in page or path.stem == "paper-in-small"
    assert str(Path(sys.prefix)) not in page  # no path of this machine on a page
