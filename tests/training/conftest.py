"""A small simulated training set."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tuningfork.simulation import simulate


@pytest.fixture(scope="session")
def galaxies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty simulated galaxies in Kaggle's layout."""
    return simulate(tmp_path_factory.mktemp("galaxies") / "sim", 60, seed=4, workers=1)


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The package's log records since the last call, as their texts."""
    caplog.set_level(logging.INFO, "tuningfork")

    def taken() -> list[str]:
        lines = [record.getMessage() for record in caplog.records if record.name.startswith("tuningfork")]
        caplog.clear()
        return lines

    return taken
