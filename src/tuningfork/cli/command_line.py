"""The `tuningfork` command: entry point, signals, messages, and the options that every command has."""

from __future__ import annotations

import functools
import gc
import inspect
import io
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from .. import __version__
from .console import Verbosity, echo, verbosity
from .errors import Terminated
from .groups import GROUPS, group_of, modules_of

__all__ = ["App", "Command", "app", "fill_help", "options_given", "load_commands", "main"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _sources() -> str:
    from ..surveys.registry import OTHERS, survey_names

    return f"{', '.join(survey_names())}, {OTHERS}"


#: Gaps in the help of options → what fills them: texts that take time to find, and only help needs.
_GAPS: dict[str, Callable[[], str]] = {"{sources}": _sources}


def fill_help(command: Any) -> None:
    """Fill the gaps in the help of a command's options."""
    for parameter in command.params:
        for gap, text in _GAPS.items():
            if gap in (getattr(parameter, "help", None) or ""):
                parameter.help = parameter.help.replace(gap, text())


def _with_compact_examples(text: str) -> str:
    """A help text with its examples on consecutive lines: in Markdown, a paragraph with hard line breaks."""
    description, heading, examples = inspect.cleandoc(text).partition("Examples:\n")
    lines = [re.sub(r"([\\`*_<>\[\]])", r"\\\1", line.strip()) for line in examples.splitlines() if line.strip()]
    return f"{description}{heading}\n" + "  \n".join(lines) if lines else text


class Command(TyperCommand):
    """A command whose `--help` leaves out the groups of rarer options, which `--help-all` shows."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        fill_help(self)
        described = self.help
        try:
            self.help = _with_compact_examples(described or "")
            self._format_options(ctx, formatter)
        finally:
            self.help = described

    def _format_options(self, ctx: Any, formatter: Any) -> None:
        rare = [each for each in self.params if getattr(each, "rich_help_panel", None) and not _is_hidden(each)]
        if ctx.meta.get(_HELP_ALL) or not rare:
            super().format_help(ctx, formatter)
            return
        panels = dict.fromkeys(str(each.rich_help_panel) for each in rare)  # type: ignore[attr-defined]
        epilog = self.epilog
        try:
            for each in rare:
                each.hidden = True  # type: ignore[attr-defined]
            self.epilog = f"More options with --help-all: {', '.join(panels)}."
            super().format_help(ctx, formatter)
        finally:
            self.epilog = epilog
            for each in rare:
                each.hidden = False  # type: ignore[attr-defined]


#: Key of a context's `meta`: whether all options are shown.
_HELP_ALL = "tuningfork.help_all"


def _is_hidden(parameter: Any) -> bool:
    return bool(getattr(parameter, "hidden", False))


def _help_all(ctx: typer.Context, value: bool) -> None:
    if value:
        ctx.meta[_HELP_ALL] = True
        # The text is printed by `format_help` itself where rich is in use.
        if text := ctx.get_help():
            echo(text, lines=True)
        raise typer.Exit


#: Options of all commands: name → annotation; they are not arguments of the commands' functions.
_COMMON: dict[str, Any] = {
    "verbose": Annotated[bool, typer.Option("-v", "--verbose", help="Also print details, and libraries' warnings.")],
    "quiet": Annotated[bool, typer.Option("-q", "--quiet", help="Print only results and errors.")],
}
_HELP_ALL_OPTION = Annotated[
    bool, typer.Option("--help-all", callback=_help_all, is_eager=True, help="Show all options and exit.")
]


class Group(TyperGroup):
    """The commands in the order of `groups.GROUPS`, whatever order they were imported in."""

    def list_commands(self, ctx: Any) -> list[str]:
        order = [name for commands in GROUPS.values() for name in commands]
        return sorted(self.commands, key=lambda name: order.index(name) if name in order else len(order))


class App(typer.Typer):
    """A Typer app whose commands have the options of `_COMMON` and the group that `groups.GROUPS` names."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[_Function], _Function]:
        """Register a command; see `typer.Typer.command`."""

        def decorate(function: _Function) -> _Function:
            spelled = name or function.__name__.rstrip("_").replace("_", "-")
            options.setdefault("cls", Command)
            options.setdefault("rich_help_panel", group_of(spelled))
            super(App, self).command(spelled, **options)(_with_common_options(function))
            return function

        return decorate


def _with_common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function, eval_str=True)
    own = list(signature.parameters.values())
    common = dict(_COMMON)
    if any(getattr(info, "rich_help_panel", None) for each in own for info in _metadata(each)):
        common["help_all"] = _HELP_ALL_OPTION

    @functools.wraps(function)
    def command(*, context: typer.Context, verbose: bool, quiet: bool, help_all: bool = False, **values: Any) -> Any:
        _contexts[:] = [context]
        if verbose and quiet:
            raise typer.BadParameter("not together with --verbose", param_hint="--quiet")
        with _messages(Verbosity.verbose if verbose else Verbosity.quiet if quiet else Verbosity.normal):
            return function(**values)

    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in common.items()
    ]
    keyword_only = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    more.insert(0, inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))
    command.__signature__ = signature.replace(parameters=[*keyword_only, *more])  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in [*own, *more]}
    return command


#: The context of the command that runs, if one does.
_contexts: list[typer.Context] = []


def options_given(*names: str) -> list[str]:
    """Of these parameters of the running command those whose options were given, as they are spelled."""
    return [
        max(parameter.opts, key=len)
        for context in _contexts
        for parameter in context.command.params
        if parameter.name in names
        and (source := context.get_parameter_source(parameter.name)) is not None
        and source.name != "DEFAULT"
    ]


def _metadata(parameter: inspect.Parameter) -> tuple[Any, ...]:
    return getattr(parameter.annotation, "__metadata__", ())


app = App(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Predict the morphology of galaxies from images.\n\n"
    "Exit codes: 0 all well, 1 failed, 2 wrong usage, 3 done but some rows failed.",
    epilog="`tuningfork COMMAND --help` has examples; `tuningfork --install-completion` completes commands, options, "
    "models and recipes in your shell.",
)


def load_commands(command: str | None = None) -> None:
    """Import the modules of a command, which register it; None: of all commands."""
    for module in modules_of(command):
        import_module(f".{module}", __package__)


def main() -> None:
    """Entry point of the `tuningfork` command."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows only ASCII shows × as \\xd7 rather than nothing at all.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_DFL:
            signal.signal(getattr(signal, name), _terminate)
    # Imports make many objects that stay: looking for garbage among them costs a tenth of a short command's time.
    gc.set_threshold(200_000, 10, 10)
    # A completion may be of any command; its words are not in sys.argv.
    is_completion = any(name.startswith("_TUNINGFORK_COMPLETE") for name in os.environ)
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    load_commands(words[0] if words and not is_completion else None)
    try:
        app()
    except SystemExit:
        # Outside of `trouble` Typer takes it for an interrupt at a prompt.
        if _signals:
            raise SystemExit(128 + _signals[0]) from None
        raise
    finally:
        # The process ends: to look for garbage among all objects now takes a sixth of a short command's time.
        gc.freeze()


#: The signals that have come, if any.
_signals: list[int] = []


def _terminate(number: int, frame: object) -> None:
    _signals.append(number)
    raise Terminated(number)


class _Stderr(logging.Handler):
    """Log records as plain lines on whatever stderr is at the moment; a warning once, however often it is given."""

    #: Warnings that are remembered.
    MOST = 1000

    def __init__(self) -> None:
        super().__init__()
        self.shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.WARNING:
            if message in self.shown:
                return
            if len(self.shown) < self.MOST:
                self.shown.add(message)
        echo(message, err=True)


_LEVELS = {Verbosity.quiet: logging.ERROR, Verbosity.normal: logging.INFO, Verbosity.verbose: logging.DEBUG}


@contextmanager
def _messages(level: Verbosity) -> Iterator[None]:
    """Show the package's log, and libraries' messages only where --verbose asks for them, while a command runs."""
    before = verbosity()
    logger, root = logging.getLogger("tuningfork"), logging.getLogger()
    handlers = [handler for handler in logger.handlers if isinstance(handler, _Stderr)]
    if not handlers:
        logger.addHandler(_Stderr())
    for handler in handlers:
        handler.shown.clear()
    if not root.handlers:
        # Without any handler Python prints libraries' warnings to stderr.
        root.addHandler(logging.NullHandler())
    with warnings.catch_warnings():
        # Whoever set -W or PYTHONWARNINGS wants to see them.
        if not sys.warnoptions:
            warnings.simplefilter("default" if level is Verbosity.verbose else "ignore")
        try:
            verbosity(level)
            logger.setLevel(_LEVELS[level])
            yield
        finally:
            verbosity(before)
            logger.setLevel(_LEVELS[before])


def _version(value: bool) -> None:
    if value:
        echo(f"tuningfork {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass
