"""The examples in the docstrings of display, experiments and similarity run as they stand."""

import doctest
import importlib
import pkgutil

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("optuna", reason="the extra `study` is not installed")

import tuningfork


def test_examples_of_docstrings_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = [], 0
    for package in ("display", "experiments", "similarity"):
        prefix = f"tuningfork.{package}."
        for info in pkgutil.walk_packages([f"{tuningfork.__path__[0]}/{package}"], prefix):
            report: list[str] = []
            runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
            module = importlib.import_module(info.name)
            for example in doctest.DocTestFinder(exclude_empty=True).find(module):
                runner.run(example, out=report.append)
            failed += report
            tried += runner.tries
    assert not failed, "".join(failed)
    assert tried > 15
