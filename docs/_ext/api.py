"""The reference of the Python API, written from the public names of the package whenever the documents are built."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import tuningfork

__all__ = ["reference", "setup"]

#: Sections of the page, in order, with the public names that each describes.
SECTIONS = {
    "Load a model and predict": ("load", "Model", "InferenceOptions"),
    "Predictions": ("Prediction", "Predictions"),
    "Many images to one table": ("predict_files", "ExecutionOptions"),
    "Images": ("read_image", "Framing"),
    "Decision trees and labels": ("load_tree", "DecisionTree", "read_labels"),
    "Tables": ("read_table", "write_table"),
    "Evaluation and calibration": ("evaluate", "calibrate"),
    "Training": ("train", "Recipe", "load_recipe"),
    "Simulated galaxies": ("simulate",),
    "Errors": ("TuningforkError",),
}

HEAD = """# Python

The public names of `tuningfork`; everything else may change. Arrays are NumPy's. Every error that the package raises
derives from `TuningforkError`, and its message names the remedy.
"""


def reference() -> str:
    """The page, in MyST.

    Raises
    ------
    ValueError
        If a public name is in no section, or a section names something that is not public.
    """
    listed = [name for names in SECTIONS.values() for name in names]
    public = [name for name in tuningfork.__all__ if name != "__version__"]
    if sorted(listed) != sorted(public):
        raise ValueError(f"sections and public names differ: {sorted(set(listed) ^ set(public))}")
    parts = [HEAD]
    for title, names in SECTIONS.items():
        parts.append(f"\n## {title}\n")
        for name in names:
            thing = getattr(tuningfork, name)
            kind = "class" if inspect.isclass(thing) else "function"
            members = "\n   :members:" if kind == "class" else ""
            parts.append(f"```{{eval-rst}}\n.. auto{kind}:: tuningfork.{name}{members}\n```\n")
    return "\n".join(parts)


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write(app: Any) -> None:
    page = Path(app.srcdir) / "reference" / "api.md"
    page.parent.mkdir(exist_ok=True)
    text = reference()
    # The same text is not written again, so that Sphinx need not read it again.
    if not page.exists() or page.read_text("utf-8") != text:
        page.write_text(text, encoding="utf-8")
