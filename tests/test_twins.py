"""Twins of inputs of public bug reports are never silently misread; `scripts/cases.py` prints them as a table."""

import pytest

pytest.importorskip("astropy", reason="the extra `sky` is not installed")

from twins import TWINS


def test_every_twin_is_read_rightly_refused_or_warned_about(tmp_path):
    wrong = []
    for number, twin in enumerate(TWINS):
        folder = tmp_path / str(number)
        folder.mkdir()
        text = twin.make(folder)
        if twin.expected not in text or (twin.expected == "read" and not text.startswith("read;") and text != "read"):
            wrong.append((twin.kind, twin.what, twin.expected, text))
    assert not wrong
    assert len({twin.kind for twin in TWINS}) >= 10
