"""Send tables and images to TOPCAT, Aladin and DS9, through SAMP, which these tools speak among themselves."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any
from xmlrpc.client import Error

import pyarrow as pa

from .._utils.errors import TuningforkError
from .._utils.extras import install_hint
from .._utils.text import one_line
from . import read_table, table_writer

__all__ = ["ALL", "Answer", "SampError", "send"]

#: Every tool that takes what is sent.
ALL = "all"
#: Seconds that a tool may take to load it.
TIMEOUT = 120
_FITS = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz")
#: By this we know the replies to our messages.
_TAG = "tuningfork"
_VOTABLE = (".vot", ".vo", ".votable", ".xml")


class SampError(TuningforkError, ValueError):
    """Nothing can be sent; the message says what to do."""


@dataclass(frozen=True)
class Answer:
    """A tool's reply to a message: its name, and the reason if it did not load the file."""

    tool: str
    problem: str = ""


def send(
    path: Path, to: str = ALL, *, timeout: int = TIMEOUT, read: Callable[[Path], pa.Table] = read_table
) -> list[Answer]:
    """Have a table or a FITS image loaded by the tools that are connected to this user's SAMP hub.

    VOTable and FITS are sent as they are; other tables, and the folder of a prediction, as a VOTable that is there
    until all tools have answered. The tools run on this machine, or see its files.

    Parameters
    ----------
    to : str
        Part of a tool's name, in any case, such as "topcat"; `ALL`: every one that takes it.
    timeout : int
        Seconds that they may take.
    read : function of a path
        Reads tables that are neither VOTable nor FITS.

    Raises
    ------
    SampError
        If no hub is running, or no such tool is there.
    CatalogError, ManifestError
        If the table cannot be read.
    """
    with _connected() as client, _loadable(path, read) as (message, file):
        tools = _tools(client, message, to)
        content = {"url": file.absolute().as_uri(), "name": path.name}
        if message.startswith("table"):
            content["table-id"] = str(path.absolute())
        return list(_answers(client, tools, message, content, timeout))


@contextmanager
def _connected() -> Iterator[Any]:
    try:
        from pyvo.samp import SAMPHubError, SAMPIntegratedClient, conf
    except ImportError:
        raise SampError(f"sending needs pyvo: {install_hint('sky')}") from None
    client = SAMPIntegratedClient("tuningfork", "Morphology of galaxies", addr="127.0.0.1")
    # Else it asks a foreign server whether there is an internet.
    with conf.set_temp("use_internet", False):
        try:
            client.connect()
        except (SAMPHubError, OSError, KeyError, Error):
            raise SampError("no SAMP hub is running: start TOPCAT or Aladin, which bring one, and send again") from None
    try:
        yield client
    finally:
        try:
            client.disconnect()
        except (OSError, Error):
            client.hub.disconnect()


@contextmanager
def _loadable(path: Path, read: Callable[[Path], pa.Table]) -> Iterator[tuple[str, Path]]:
    """What to ask the tools to do, and with which file."""
    name = path.name.lower()
    if name.endswith(_FITS):
        yield f"{'table' if _is_table(path) else 'image'}.load.fits", path
    elif name.endswith(_VOTABLE):
        yield "table.load.votable", path
    else:
        table = read(path)
        with tempfile.TemporaryDirectory(prefix="tuningfork-") as folder:
            file = Path(folder) / f"{path.stem}.vot"
            with table_writer(file, table.schema) as write:
                write(table)
            yield "table.load.votable", file


def _is_table(path: Path) -> bool:
    """Whether a FITS file holds a table and no image: an image may have tables behind it, as frames of SDSS do."""
    from astropy.io import fits

    try:
        with fits.open(path) as hdus:
            packed = [isinstance(hdu, fits.CompImageHDU) for hdu in hdus]
            images = [hdu for hdu in hdus if hdu.is_image and len(hdu.shape or ()) > 1]
            tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
            return bool(tables) and not images and not any(packed)
    except OSError as error:
        raise SampError(f"{path}: cannot be read as fits: {one_line(error)}") from None


def _tools(client: Any, message: str, to: str) -> dict[str, str]:
    """The tools that take the message, by the identifier that the hub knows them by; raises SampError if none does."""
    try:
        takers = {tool: _name(client, tool) for tool in client.get_subscribed_clients(message)}
    except (OSError, Error) as error:
        raise SampError(f"the SAMP hub is gone ({one_line(error)}); send again") from None
    chosen = {tool: name for tool, name in takers.items() if to == ALL or to.casefold() in name.casefold()}
    if not chosen:
        wanted = "tool" if to == ALL else f"tool called {to!r}"
        there = ", ".join(sorted(takers.values())) or "none"
        raise SampError(f"no {wanted} that takes {message} is connected (those that do: {there}); start it, send again")
    return chosen


def _name(client: Any, tool: str) -> str:
    return str(client.get_metadata(tool).get("samp.name", tool))


def _answers(
    client: Any, tools: dict[str, str], message: str, content: dict[str, str], timeout: int
) -> Iterator[Answer]:
    """Ask all tools at once, and tell what each says, in the order of their answers."""
    # Not the hub's own call-and-wait: pyvo's hub loses answers that come at once.
    replies: Queue[tuple[str, dict[str, Any]]] = Queue()
    client.bind_receive_response(_TAG, lambda key, tool, tag, response: replies.put((tool, response)))
    waiting = dict(tools)
    for tool, name in tools.items():
        try:
            client.ecall(tool, _TAG, message, **content)
        except (OSError, Error) as error:
            yield Answer(waiting.pop(tool, name), one_line(error))
    end = time.monotonic() + timeout
    while waiting:
        try:
            tool, response = replies.get(timeout=max(0, end - time.monotonic()))
        except Empty:
            break
        if tool in waiting:
            yield Answer(waiting.pop(tool), _problem(response))
    yield from (Answer(name, f"no answer in {timeout} s") for name in waiting.values())


def _problem(response: dict[str, Any]) -> str:
    if response.get("samp.status") == "samp.ok":
        return ""
    reason = response.get("samp.error", {}).get("samp.errortxt") or "it did not load it, and gives no reason"
    return one_line(reason)
