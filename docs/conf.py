"""Sphinx configuration; `sh scripts/docs` builds the documents without network access."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import tuningfork

project = "tuningfork"
author = "The developers of tuningfork"
copyright = author
version = release = tuningfork.__version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "api", "commands", "notebooks", "trees"]
source_suffix = {".md": "markdown", ".ipynb": "notebook"}
exclude_patterns = ["_build", "_ext"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # links out of docs/, for whoever reads these pages on a forge

# Docstrings name things in single backticks.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "tuningfork"
html_static_path = ["_static"]
html_css_files = ["tuningfork.css"]
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "native"


def setup(app):
    """Shapes such as (*, A) in docstrings are no emphasis."""

    def plain(app, what, name, of, options, lines):
        lines[:] = [line.replace("(*,", r"(\*,") for line in lines]

    app.connect("autodoc-process-docstring", plain, priority=100)
