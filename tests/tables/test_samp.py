"""What is sent arrives: a hub of pyvo's on loopback, and tools that write down what they are asked to load."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import pyarrow as pa
import pytest

from tuningfork.tables import Column, arrow_schema, read_table, table_writer, ucd
from tuningfork.tables.samp import Answer, SampError, send

pytest.importorskip("pyvo")
from astropy.io import fits
from pyvo.samp import SAMPHubServer, SAMPIntegratedClient, conf

TABLE, FITS_TABLE, PICTURE = "table.load.votable", "table.load.fits", "image.load.fits"
ROWS = pa.table(
    {"id": ["a", "b"], "ra": [1.0, 2.0]},
    schema=arrow_schema(
        [Column("id", pa.string(), "Name", ucd=ucd.IDENTIFIER), Column("ra", pa.float64(), "RA", "deg")]
    ),
)


class Tool:
    """A tool that is connected to the hub; `got` holds what it was asked to load, and read when asked."""

    def __init__(self, name: str, *messages: str, answer: str = "samp.ok") -> None:
        self.got: list[tuple[str, dict[str, str], pa.Table | None]] = []
        self._answer = answer
        self._client = SAMPIntegratedClient(name, addr="127.0.0.1")
        self._client.connect()
        for message in messages:
            self._client.bind_receive_call(message, self._receive)

    def _receive(self, key: str, sender: str, message: str, mtype: str, content: Any, extra: Any) -> None:
        path = Path(url2pathname(urlsplit(content["url"]).path))
        self.got.append((mtype, content, read_table(path) if mtype.startswith("table") else None))
        if self._answer:
            error = {"samp.errortxt": "out of memory"} if self._answer == "samp.error" else None
            self._client.ereply(message, self._answer, result={}, error=error)

    def close(self) -> None:
        self._client.disconnect()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HOME", str(tmp_path))  # where hubs write down how they are reached
    monkeypatch.delenv("SAMP_HUB", raising=False)
    with conf.set_temp("use_internet", False):
        server = SAMPHubServer(addr="127.0.0.1", web_profile=False)
        server.start()
        yield
        server.stop()


@pytest.fixture
def tool(hub: None) -> Iterator[Callable[..., Tool]]:
    tools = []

    def make(*words: str, **options: str) -> Tool:
        tools.append(Tool(*words, **options))
        return tools[-1]

    yield make
    for each in tools:
        each.close()


def written(path: Path) -> Path:
    with table_writer(path, ROWS.schema) as write:
        write(ROWS)
    return path


@pytest.mark.parametrize(
    ("ending", "message"),
    [(".vot", TABLE), (".fits", FITS_TABLE), (".csv", TABLE), (".parquet", TABLE), (".ecsv", TABLE)],
)
def test_a_table_of_any_format_arrives(tool: Any, tmp_path: Path, ending: str, message: str) -> None:
    topcat = tool("topcat", TABLE, FITS_TABLE)
    path = written(tmp_path / f"vötes 1{ending}")
    assert send(path) == [Answer("topcat")]
    ((mtype, content, table),) = topcat.got
    assert (mtype, content["name"]) == (message, path.name)
    assert table.to_pydict() == ROWS.to_pydict()
    sent = Path(url2pathname(urlsplit(content["url"]).path))
    assert sent.exists() == (ending in (".vot", ".fits"))  # what was made for sending is gone
    assert (sent == path) == (ending in (".vot", ".fits"))


@pytest.mark.parametrize("packed", [False, True])
def test_an_image_goes_to_those_that_take_images(tool: Any, tmp_path: Path, packed: bool) -> None:
    topcat, aladin = tool("topcat", TABLE, FITS_TABLE), tool("Aladin", TABLE, PICTURE)
    image = np.arange(64, dtype=np.float32).reshape(8, 8)
    hdu = fits.CompImageHDU(image) if packed else fits.ImageHDU(image)
    # Frames of SDSS have tables behind the image.
    rows = fits.BinTableHDU.from_columns([fits.Column(name="sky", format="E", array=[1.0])])
    fits.HDUList([fits.PrimaryHDU(), hdu, rows]).writeto(tmp_path / "ngc.fits")
    assert send(tmp_path / "ngc.fits") == [Answer("Aladin")]
    assert [mtype for mtype, _, _ in aladin.got] == [PICTURE]
    assert topcat.got == []


def test_one_tool_of_several_is_asked_by_name(tool: Any, tmp_path: Path) -> None:
    topcat, aladin = tool("topcat", TABLE), tool("Aladin", TABLE)
    path = written(tmp_path / "t.vot")
    assert send(path, "ALADIN") == [Answer("Aladin")]
    assert (len(topcat.got), len(aladin.got)) == (0, 1)
    assert {answer.tool for answer in send(path)} == {"topcat", "Aladin"}


def test_a_tool_that_is_not_there_is_named_with_those_that_are(tool: Any, tmp_path: Path) -> None:
    tool("topcat", TABLE)
    path = written(tmp_path / "t.vot")
    with pytest.raises(SampError, match=r"no tool called 'ds9' that takes table\.load\.votable .*: topcat\); start it"):
        send(path, "ds9")
    with pytest.raises(SampError, match=r"no tool that takes table\.load\.fits is connected \(those that do: none\)"):
        send(written(tmp_path / "t.fits"))


def test_what_a_tool_says_is_reported(tool: Any, tmp_path: Path) -> None:
    tool("full", TABLE, answer="samp.error")
    tool("mute", TABLE, answer="")
    answers = send(written(tmp_path / "t.vot"), timeout=1)
    assert set(answers) == {Answer("full", "out of memory"), Answer("mute", "no answer in 1 s")}


def test_without_a_hub_it_says_which_tool_brings_one(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "t.vot")
    for lockfile in ("none", "stale"):
        (tmp_path / "stale").write_text("samp.secret=1\nsamp.hub.xmlrpc.url=http://127.0.0.1:9/\n")
        monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path / lockfile).as_uri()}")
        error = run("send", path, code=1).stderr
        assert error == "error: no SAMP hub is running: start TOPCAT or Aladin, which bring one, and send again\n"


def test_without_pyvo_the_extra_is_named(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "t.vot")
    monkeypatch.setitem(sys.modules, "pyvo.samp", None)
    assert "pip install '.[sky]' in the clone" in run("send", path, code=1).stderr


def test_a_damaged_file_is_named(tool: Any, run: Any, tmp_path: Path) -> None:
    tool("topcat", TABLE, FITS_TABLE)
    for name in ("t.fits", "t.parquet"):
        (tmp_path / name).write_bytes(b"no table")
        assert f"{tmp_path / name}: cannot be read as" in run("send", tmp_path / name, code=1).stderr
    run("send", tmp_path / "missing.vot", code=2)


def test_the_command_says_who_got_it(tool: Any, run: Any, tmp_path: Path) -> None:
    tool("topcat", TABLE)
    path = written(tmp_path / "t.vot")
    assert run("send", path).stdout == f"{path} → topcat\n"
    assert json.loads(run("send", path, "--json").stdout) == [{"tool": "topcat", "problem": ""}]
    tool("full", TABLE, answer="samp.error")
    done = run("send", path, code=1)
    assert f"{path} → topcat\n" in done.stdout
    assert "failed: full: out of memory" in done.stderr
