"""The public names: all there, in `dir`, documented with parameters and an example that runs."""

import doctest
import inspect
import re
import subprocess
import sys

import pytest

import tuningfork

NAMES = [name for name in tuningfork.__all__ if name != "__version__"]
#: Names that need PyTorch.
HEAVY = {"Recipe", "load_recipe", "train"}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_dir_offers_the_public_names_and_no_others():
    assert dir(tuningfork) == sorted(tuningfork.__all__)
    assert set(tuningfork._MODULES) == set(NAMES)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = tuningfork.nonsense


def test_a_name_is_imported_only_when_it_is_used():
    code = (
        "import sys, tuningfork; dir(tuningfork); "
        "print([n for n in ('numpy', 'onnxruntime', 'torch') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _documented(name):
    """A public object with its public methods and properties."""
    thing = getattr(tuningfork, name)
    yield name, thing
    if inspect.isclass(thing):
        for key, value in vars(thing).items():
            if not key.startswith("_") and (inspect.isfunction(value) or isinstance(value, property | classmethod)):
                yield f"{name}.{key}", value.__func__ if isinstance(value, classmethod) else value


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_documented_and_its_example_runs(name):
    if name in HEAVY:
        pytest.importorskip("tuningfork.training")
    bare, examples = [], []
    for key, thing in _documented(name):
        text = inspect.getdoc(thing) or ""
        if not text:
            bare.append(key)
        if not inspect.isfunction(thing) and not inspect.isclass(thing):
            # The reference takes what stands before a colon in the first line of a property for its type.
            assert ":" not in re.sub(r"``.*?``|`.*?`", "", text.partition("\n")[0]), key
        takes = inspect.isfunction(thing) and set(inspect.signature(thing).parameters) - {"self", "cls"}
        if takes and "Parameters\n---" not in text:
            bare.append(f"{key}: no Parameters")
    assert not bare, bare
    thing = getattr(tuningfork, name)
    globals_ = {"tuningfork": tuningfork, **vars(sys.modules[thing.__module__])}
    for test in doctest.DocTestFinder(recurse=True).find(thing, name, globs=globals_):
        examples += test.examples
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        assert runner.run(test).failed == 0, test.name
    assert examples, f"{name} has no example"


def test_no_library_function_takes_more_than_eight_parameters():
    import ast
    from pathlib import Path

    root, wide = Path(tuningfork.__file__).parent, []
    for path in root.rglob("*.py"):
        if path.is_relative_to(root / "cli"):
            continue  # a command has an argument for each option
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = sum(map(len, (node.args.posonlyargs, node.args.args, node.args.kwonlyargs)))
                first = (node.args.posonlyargs + node.args.args)[:1]
                count -= bool(first) and first[0].arg in ("self", "cls")
                if count > 8:
                    wide.append(f"{path.relative_to(root)}:{node.lineno} {node.name} ({count})")
    assert not wide, "\n".join(wide)
