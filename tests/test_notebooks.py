"""The tutorials lie in the repository without outputs; that they run, and what they show, is in test_docs.py."""

import ast
import importlib
import json
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


def _code(path):
    if path.suffix == ".py":
        return path.read_text("utf-8")
    cells = json.loads(path.read_text("utf-8"))["cells"]
    lines = "".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "code").splitlines(True)
    return "".join("pass\n" if line.startswith(("%", "!")) else line for line in lines)


@pytest.mark.parametrize("folder", ["docs", "benchmarks", "studies", "scripts"])
def test_what_code_beside_the_package_imports_of_it_is_there(folder):
    pytest.importorskip("torch")
    import tuningfork.training._torchvision  # noqa: F401  (before timm)

    missing, count = [], 0
    for path in sorted(each for each in (DOCS.parent / folder).rglob("*") if each.suffix in (".py", ".ipynb")):
        for node in ast.walk(ast.parse(_code(path))):
            if not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tuningfork")):
                continue
            module = importlib.import_module(node.module)
            count += 1
            for name in node.names:
                if not hasattr(module, name.name):
                    try:
                        importlib.import_module(f"{node.module}.{name.name}")
                    except ImportError:
                        missing.append(f"{path.relative_to(DOCS.parent)}: {node.module}.{name.name}")
    assert count
    assert not missing
