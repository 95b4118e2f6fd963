"""Values that need no conversion: what a command gets is what Typer alone would give it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from tuningfork.cli.command_line import App

#: The name of a file whose bytes are no text.
SURROGATE = "\udcff.jpg"
USES = (
    ["a.jpg"],
    ["a.jpg", "b.jpg", "--name", "x"],
    ["a.jpg", "--name", ""],
    [],
    [SURROGATE],
    ["a.jpg", "--name", SURROGATE],
    ["a.jpg", "--count", "3", "--share", "0.5", "--kind", "two", "--file", "out.csv", "--no-flag"],
    ["a.jpg", "--parsed", "x"],
    ["a.jpg", "--count", "-1"],
    ["a.jpg", "--count", "three"],
    ["a.jpg", "--share", "nan"],
    ["a.jpg", "--kind", "three"],
    ["a.jpg", "--tag", "p", "--tag", "q", "--number", "1", "--number", "2"],
    ["a.jpg", "--maybe", "7"],
)


class Kind(StrEnum):
    one = "one"
    two = "two"


def command(
    paths: Annotated[list[str], typer.Argument()],
    name: str = "plain",
    parsed: Annotated[str, typer.Option(parser=str.upper)] = "default",
    other: str | None = None,
    count: Annotated[int, typer.Option(min=0, max=5)] = 1,
    maybe: int | None = None,
    share: Annotated[float, typer.Option(min=0)] = 4.0,
    kind: Kind = Kind.one,
    file: Path | None = None,
    place: Path = Path("gallery.html"),
    flag: bool = True,
    tag: list[str] | None = None,
    number: list[int] | None = None,
) -> None:
    """Parameters of every kind that the package's commands have; print what came, with its types."""
    print({key: (value, type(value)) for key, value in locals().items()})


def _outcomes(app):
    app.command()(command)
    return [(done.exit_code, done.output) for done in (CliRunner().invoke(app, words) for words in USES)]


def test_a_command_gets_what_typer_alone_would_give_it():
    plain = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
    ours = App(pretty_exceptions_enable=False, rich_markup_mode=None)
    expected, outcomes = _outcomes(plain), _outcomes(ours)
    assert outcomes == expected
    assert {code for code, _ in outcomes} == {0, 2}
    assert any("'X'" in output for _, output in outcomes)


def test_another_typer_converts_as_it_likes():
    class Parameter:
        name = "x"

    from tuningfork.cli.conversion import converted_if_needed

    parameter = Parameter()
    assert converted_if_needed([parameter]) == [parameter]
    assert not vars(parameter)


def test_typer_itself_is_asked_for_all_else():
    from tuningfork.cli.conversion import converted_if_needed

    class Real:
        name = "real"

        def coerce(self, value, param, ctx):
            return [value, param, ctx]

    class Parameter:
        multiple, nargs, default = False, 1, None
        type_descriptor = type("Descriptor", (), {"annotation": int})

        def get_runtime_param(self):
            return Real()

    (parameter,) = converted_if_needed(converted_if_needed([Parameter()]))
    converter = parameter.get_runtime_param()
    assert converter.name == "real"
    assert converter.coerce("3", param=1, ctx=2) == ["3", 1, 2]
    assert converter.coerce(None, param=1, ctx=2) is None
    with pytest.raises(AttributeError):
        _ = converter.missing
