"""What several tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tuningfork.schema import Tree, load_tree


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder that holds `data/`; TUNINGFORK_SHARED names another one."""
    folder = Path(os.environ.get("TUNINGFORK_SHARED") or Path(__file__).parents[2] / "shared")
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; name the folder of real galaxies in TUNINGFORK_SHARED")
    return folder


@pytest.fixture(scope="session")
def gz2() -> Tree:
    return load_tree("gz2")
