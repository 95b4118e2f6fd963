"""The house: imports run downward only, predicting needs no PyTorch, every module says what it is."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tuningfork

ROOT = Path(tuningfork.__file__).parent
FLOOR = {
    "addresses": 0,
    "appearance": 0,
    "arrow": 0,
    "files": 0,
    "notebook": 0,
    "patience": 0,
    "workers": 0,
    "conformal": 0,
    "schema": 0,
    "temperature": 0,
    "domain": 1,
    "votes": 1,
    "images": 2,
    "preprocess": 2,
    "catalog": 2,
    "metrics": 2,
    "intervals": 2,
    "ranking": 2,
    "selective": 2,
    "classtable": 3,
    "embedding": 3,
    "reliability": 3,
    "calibration": 3,
    "runtime": 3,
    "sky": 3,
    "reading": 4,
    "bundle": 4,
    "labeltable": 4,
    "inputs": 5,
    "labels": 5,
    "card": 5,
    "predictions": 5,
    "submission": 5,
    "manifest": 6,
    "evaluate": 6,
    "model": 6,
    "merging": 7,
    "hats": 7,
    "tuning": 7,
    "similar": 7,
    "simulate": 7,
    "selecting": 7,
    "occlusion": 7,
    "cutouts": 7,
    "work": 8,
    "match": 8,
    "samp": 8,
    "engines": 9,
    "predict": 10,
    "outside": 11,
    "labelling": 11,
    "demo": 11,
    "speed": 11,
    "train": 11,
    "calibrate": 12,
    "bench": 12,
    "web": 12,
    "study": 13,
    "teach": 13,
    "serve": 13,
    "cli": 14,
    "__main__": 15,
}
MODULES = sorted(ROOT.rglob("*.py"))


def _room(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def _imported_rooms(path):
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                yield (*base, *name.split("."))[0]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tuningfork"):
            yield ([*node.module.split("."), "__init__"])[1]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_downward(path):
    room = _room(path)
    if room == "__init__":
        return
    for other in _imported_rooms(path):
        if other not in (room, "__init__", "__version__"):
            assert FLOOR[other] < FLOOR[room], f"{room} imports {other}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_opens_with_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_public_names_are_documented(path):
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name}"


HEAVY = ("torch", "timm", "lightning", "onnx", "scipy", "pandas", "matplotlib", "astropy", "optuna", "sqlalchemy")


def test_a_prediction_imports_no_pytorch():
    code = (
        "import sys, numpy, tuningfork\n"
        "model = tuningfork.load()\n"
        "print(model.predict(numpy.zeros((64, 64, 3), 'uint8')).class_name)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom tuningfork.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        f"print([n for n in {(*HEAVY, 'onnxruntime', 'pyarrow', 'numpy')!r} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
