"""The reference of commands, written from the definition of the command line whenever the documents are built."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer.main

from tuningfork.cli import app as command_line
from tuningfork.cli.command_line import fill_help

__all__ = ["all_commands", "reference", "setup"]

HEAD = """# Commands

Made from the help of each command. Exit codes of all commands: 0 all well, 1 failed, 2 wrong usage, 3 done but some
rows failed, 130 interrupted. All commands have `-h` and `--help`, `--help-all` where `--help` leaves out rarer options,
`-v` and `--verbose` (also print details, and libraries' warnings), `-q` and `--quiet` (print only results and errors).
"""
#: Options of all commands, which the head of the page explains.
COMMON = {"help", "help_all", "verbose", "quiet"}


def all_commands() -> Iterator[tuple[str, Any]]:
    """Each command with its whole name, such as ``study paper``, in the order of `--help`."""

    def below(group: Any, before: str) -> Iterator[tuple[str, Any]]:
        for name in group.list_commands(None):
            command = group.commands[name]
            if hasattr(command, "commands"):
                yield from below(command, f"{before}{name} ")
            else:
                yield before + name, command

    yield from below(typer.main.get_command(command_line), "")


def reference() -> str:
    """The page, in MyST."""
    return HEAD + "".join(_section(name, command) for name, command in all_commands())


def _section(name: str, command: Any) -> str:
    fill_help(command)
    description, _, examples = inspect.cleandoc(command.help).partition("Examples:")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    parts = [f"\n## tuningfork {name}\n", _options_as_code(description.strip()) + "\n"]
    if lines:
        parts.append("```console\n" + "".join(f"$ {line}\n" for line in lines) + "```\n")
    panels: dict[str, list[Any]] = {}
    for parameter in command.params:
        if parameter.name not in COMMON:
            is_argument = parameter.param_type_name == "argument"
            panel = "Arguments" if is_argument else getattr(parameter, "rich_help_panel", None) or "Options"
            panels.setdefault(panel, []).append(parameter)
    for panel, parameters in panels.items():
        parts.append(f"| {panel} | |\n|---|---|\n" + "".join(map(_row, parameters)))
    return "\n".join(parts)


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name}`"
    else:
        names = ", ".join(f"`{name}`" for name in sorted((*parameter.opts, *parameter.secondary_opts), key=len))
    text, default = (parameter.help or "").strip(), parameter.default
    if isinstance(default, Enum):
        text += " One of " + ", ".join(f"`{choice.value}`" for choice in type(default)) + "."
    if parameter.required:
        text += " *Required.*"
    elif "[default:" not in text and isinstance(default, str | int | float | Path) and default is not False:
        text += f" Default: `{getattr(default, 'value', default)}`."
    # A bar would end the table's cell; braces and brackets are none of Markdown's here.
    return f"| {names} | {_plain(text)} |\n"


def _options_as_code(text: str) -> str:
    """Options in backticks, since two hyphens in a text become a dash."""
    pieces = text.split("`")
    pieces[::2] = [re.sub(r"(?<![\w-])(--[a-z][\w-]*)", r"`\1`", piece) for piece in pieces[::2]]
    return "`".join(pieces)


def _plain(text: str) -> str:
    text = _options_as_code(text)
    return re.sub(r"([|<>\[\]{}])(?=[^`]*(?:`[^`]*`[^`]*)*$)", r"\\\1", " ".join(text.split()))


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write(app: Any) -> None:
    page = Path(app.srcdir) / "reference" / "commands.md"
    text = reference()
    # The same text is not touched, so that Sphinx need not read it again.
    if not page.exists() or page.read_text("utf-8") != text:
        page.write_text(text, encoding="utf-8")
