"""The architecture: imports run from upper to lower layers, predicting needs no PyTorch, modules are documented."""

import ast
import subprocess
import sys
from pathlib import Path

import tuningfork

ROOT = Path(tuningfork.__file__).parent
#: The layers of docs/develop/architecture: a package imports only from packages of lower layers.
LAYERS = (
    {"_utils"},
    {"images", "tables"},
    {"votes", "inputs"},
    {"display"},
    {"model"},
    {"simulation", "surveys", "similarity"},
    {"pipeline"},
    {"training", "evaluation"},
    {"labelling"},
    {"web", "experiments"},
    {"cli"},
)
LAYER = {package: number for number, layer in enumerate(LAYERS) for package in layer}
#: What the root holds beside the packages.
ROOT_FILES = {"__init__.py", "__main__.py", "py.typed"}
MODULES = sorted(ROOT.rglob("*.py"))


def _imported_modules(path):
    """Dotted names inside of the package, as tuples, of what a module imports from it."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                yield (*base, *name.split("."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tuningfork":
            yield tuple(node.module.split(".")[1:])


def _inside(path):
    """Modules below the root's packages; the root itself may import from any."""
    return len(path.relative_to(ROOT).parts) > 1


def test_the_root_holds_packages_only():
    assert {path.name for path in ROOT.iterdir() if path.is_file()} <= ROOT_FILES
    packages = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert packages == set(LAYER)


def test_imports_run_downward():
    upward = []
    for path in filter(_inside, MODULES):
        package = path.relative_to(ROOT).parts[0]
        for other, *_ in _imported_modules(path):
            if other in LAYER and other != package and LAYER[other] >= LAYER.get(package, 99):
                upward.append(f"{path.relative_to(ROOT)} imports {other}")
    assert not upward, "\n".join(upward)


def test_no_modules_import_each_other_in_a_circle():
    names = {}
    for path in MODULES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[parts[:-1] if parts[-1] == "__init__" else parts] = path
    imports = {name: {other for other in _imported_modules(path) if other in names} for name, path in names.items()}
    done, circles = set(), []

    def visit(name, trail):
        if name in trail:
            circles.append(" → ".join(".".join(part) for part in [*trail[trail.index(name) :], name]))
        elif name not in done:
            for other in imports[name]:
                if other != name:
                    visit(other, [*trail, name])
            done.add(name)

    for name in names:
        if name:  # the root's imports are lazy
            visit(name, [])
    assert not circles, "\n".join(circles)


def test_every_module_and_public_name_is_documented():
    bare = []
    for path in MODULES:
        tree = ast.parse(path.read_text("utf-8"))
        if not ast.get_docstring(tree):
            bare.append(str(path.relative_to(ROOT)))
        for node in tree.body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                bare.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert not bare, "\n".join(bare)


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


def test_one_image_on_the_terminal_imports_only_what_it_needs(tmp_path):
    """A tenth of a second each: Arrow's Parquet and computations, TLS, entry points of other packages, threads for
    linear algebra, and a search for garbage at the end."""
    from PIL import Image

    Image.new("RGB", (64, 64), (90, 80, 70)).save(tmp_path / "a.png")
    code = (
        "import gc, os, sys\nos.environ.pop('OPENBLAS_NUM_THREADS', None)\nfrom tuningfork.cli import main\n"
        f"sys.argv = ['tuningfork', 'predict', {str(tmp_path / 'a.png')!r}, '--model', 'fast']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "slow = ['pyarrow.compute', 'pyarrow.parquet', 'ssl', 'rich', 'tuningfork.surveys.registry', 'jinja2', "
        f"*{HEAVY!r}]\n"
        "print([name for name in slow if name in sys.modules], gc.get_freeze_count() > 0, "
        "os.environ['OPENBLAS_NUM_THREADS'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] True 1"
