"""Tables on the terminal: numbers to the right, strangers' texts harmless, missing values as a dash."""

from __future__ import annotations

import pytest

from tuningfork.cli.screen import print_table


def lines(capsys) -> list[str]:
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_columns_of_numbers_end_below_each_other(capsys):
    print_table(("class", "galaxies", "purity"), [("round", 7, "0.5 (0.1…0.9)"), ("4 barred", 1200, None)])
    header, rule, first, second = lines(capsys)
    assert header == "class     galaxies         purity"
    assert set(rule) == {"─"}
    assert first == "round            7  0.5 (0.1…0.9)"
    assert second == "4 barred      1200              –"


@pytest.mark.parametrize("cell", ["1e-05", "12 %", "0.8232 ± 0.0010 (80)", "1,300/s", "-0.3", "0.1…0.2"])
def test_numbers_with_what_belongs_to_them_are_numbers(capsys, cell):
    print_table(("name", "a long heading, longer than the cell"), [("x", cell)])
    assert lines(capsys)[2].endswith(cell)
    assert lines(capsys) == []


@pytest.mark.parametrize("cell", ["3 lenticular", "0.1.0-beta", "DR7"])
def test_texts_are_to_the_left(capsys, cell):
    print_table(("name", "a long heading, longer than the cell"), [("x", cell)])
    assert lines(capsys)[2] == f"x     {cell}"


def test_a_title_stands_apart_and_markup_is_text(capsys):
    print_table(("[bold]name",), [("\x1b[31mred",)], title="[i]title[/i]")
    printed = lines(capsys)
    assert printed[:3] == ["", "[i]title[/i]", "[bold]name"]
    assert printed[4] == "\\x1b[31mred"
