"""Notebooks as pages: run when the documents are built, their outputs shown; no output lies in the repository."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from myst_parser.sphinx_ import Parser as MystParser
from nbclient import NotebookClient

__all__ = ["SECONDS", "executed", "markdown", "setup"]

#: A notebook that takes longer than this is broken, even on a busy machine.
SECONDS = 300
#: Source → its run, begun before the pages are read; each notebook has a process of its own.
_BEGUN: dict[str, Future[nbformat.NotebookNode]] = {}
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def executed(path: str | Path) -> nbformat.NotebookNode:
    """The notebook, run from top to bottom in an empty folder; raises nbclient's CellExecutionError."""
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": folder}}
        ).execute()
    return notebook


def markdown(notebook: nbformat.NotebookNode) -> str:
    """The notebook as MyST: texts as they are, code with what it gave."""
    return "\n\n".join(part for cell in notebook.cells for part in _cell(cell)) + "\n"


def _cell(cell: Any) -> Iterator[str]:
    if cell.cell_type == "markdown":
        yield cell.source
    elif cell.cell_type == "code":
        yield _fenced("ipython3", cell.source)
        shown = "".join(filter(None, map(_output, cell.get("outputs", ()))))
        if shown:
            yield _fenced("{raw} html", f'<div class="notebook-output">{shown}</div>')


def _output(output: Any) -> str:
    if output.output_type == "stream":
        # What goes to stderr is progress, and differs from run to run.
        return _words(output.text) if output.name == "stdout" else ""
    data = output.get("data", {})
    if "text/html" in data:
        return data["text/html"]
    if "image/png" in data:
        png = base64.b64encode(base64.b64decode(data["image/png"])).decode()
        words = escape(data.get("text/plain", "figure"))
        return f'<img class="plot" src="data:image/png;base64,{png}" alt="{words}">'
    return _words(data.get("text/plain", ""))


def _words(text: str) -> str:
    plain = _COLOURS.sub("", text).rstrip()
    return f'<div class="highlight"><pre>{escape(plain)}</pre></div>' if plain else ""


def _fenced(kind: str, text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{kind}\n{text}\n{fence}"


class NotebookParser(MystParser):
    """Reads ``.ipynb`` sources."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: Any) -> None:
        """Sphinx calls this with the file's text."""
        source = str(document.settings.env.doc2path(document.settings.env.docname))
        if not document.settings.env.config.notebooks_run:
            notebook = nbformat.reads(inputstring, as_version=4)
        elif source in _BEGUN:
            notebook = _BEGUN.pop(source).result()
        else:
            notebook = executed(source)
        super().parse(markdown(notebook), document)


def _begin(app: Any, env: Any, docnames: Sequence[str]) -> None:
    """Run two notebooks at a time while pages are read, the last and longest first."""
    if not app.config.notebooks_run or app.parallel > 1:
        return
    pool = ThreadPoolExecutor(2)
    for name in reversed(docnames):
        source = str(env.doc2path(name))
        if source.endswith(".ipynb"):
            _BEGUN[source] = pool.submit(executed, source)
    pool.shutdown(wait=False)


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.add_config_value("notebooks_run", True, "env", [bool])
    app.add_source_parser(NotebookParser)
    app.connect("env-before-read-docs", _begin)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
