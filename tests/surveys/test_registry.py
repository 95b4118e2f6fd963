"""Surveys are found by their names; help and messages list them by themselves."""

from __future__ import annotations

import pytest

pytest.importorskip("requests")

from tuningfork.surveys import SurveyOptions, open_source, register_survey
from tuningfork.surveys import registry as registry_module
from tuningfork.surveys.registry import SurveyError, survey_names


def test_every_survey_of_the_package_is_listed_and_opens() -> None:
    names = {name.partition(":")[0] for name in survey_names()}
    assert {"legacy", "sdss", "hips", "sia", "sia1"} <= names
    for name in ("legacy", "sdss", "hips:CDS/P/SDSS9/color"):
        assert callable(open_source(name).cutout)
    with pytest.raises(SurveyError, match="no such source; there are hips:CDS"):
        open_source("nowhere")


def test_a_registered_survey_gets_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_surveys", {})
    received = []

    @register_survey("mine", example="mine:FIELD")
    def mine(client: object, options: SurveyOptions) -> str:
        received.append(options)
        return "source"

    assert open_source("mine:north", SurveyOptions(layer="g,r,i", stretch="sdss")) == "source"
    assert received[0] == SurveyOptions("north", "g,r,i", None, "sdss")
    assert received[0].bands == ["g", "r", "i"]
    assert "mine" in survey_names()
