"""SECURITY.md is true: its modules and options are there, and its limits are those of the code."""

import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from typer.main import get_command

from tuningfork._utils.environment import child_environment, python_command
from tuningfork.cli import app
from tuningfork.web import decoder, server
from tuningfork.web.label.app import LIMITS
from tuningfork.web.limits import MIB, RequestLimits
from tuningfork.web.predict.limits import Limits

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()


def test_modules_and_options_that_it_names_are_there():
    source = ROOT / "src" / "tuningfork"
    named = re.findall(r"`((?:_utils|cli|display|images|inputs|labelling|model|surveys|tables|web)(?:/\w+)*)`", TEXT)
    assert [name for name in named if not ((source / name).is_dir() or (source / f"{name}.py").is_file())] == []
    commands = get_command(app).commands
    options = {option for name in ("serve", "label", "train") for each in commands[name].params for option in each.opts}
    assert [word for word in re.findall(r"`(--[\w-]+)`", TEXT) if word not in options] == []


def test_limits_are_those_of_the_code():
    serve, common = Limits(), RequestLimits()
    numbers = {
        "body of a request, JSON": f"{serve.body_bytes // MIB} MiB, {serve.json_bytes // MIB} MiB",
        "bodies of all requests": f"{serve.held_bytes // 2**30} GiB",
        "for the body, without a byte of it": f"{serve.body_seconds} s, {serve.idle_seconds} s",
        "head of a request, a client that does not read on": f"{server.HEAD_SECONDS:g} s, {server.WRITE_SECONDS:g} s",
        "until the response": f"{serve.seconds} s",
        "concurrent requests, waiting ones, connections": f"{serve.at_once}, {serve.waiting}, {server.MAX_CONNECTIONS}",
        "concurrent downloads, time for one": f"{common.downloads}, {common.download_seconds} s",
        "images or positions in a request, file of an image": f"{serve.images}, {serve.image_bytes // MIB} MiB",
        "pixels of an image": f"{serve.pixels // 2**20} × 2²⁰",
        "to decode an image: time, memory": f"{decoder.DECODE_SECONDS:g} s, {decoder.MEMORY_BYTES // 2**30} GiB",
        "results that are stored for download": f"{serve.stored_rows:,} rows",
        "to end after SIGTERM": f"{server.GRACE_SECONDS} s for requests",
    }
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", TEXT, re.M))
    assert {name: rows.get(name) for name in numbers} == numbers
    label = f"| {LIMITS.body_bytes // 2**10} KiB |", f"| {LIMITS.held_bytes // MIB} MiB |", f"| {LIMITS.at_once}, "
    assert all(cell in TEXT for cell in label)
    assert {field.name for field in fields(Limits)} >= {"decode_seconds", "downloads"}


def test_processes_that_decode_import_no_network_and_no_web_framework():
    names = ("tuningfork.web.predict.read_job", "tuningfork.web.label.image_job")
    heavy = {"onnxruntime", "torch", "fastapi", "starlette", "uvicorn", "prometheus_client"}
    code = f"import sys, {', '.join(names)}; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run(
        python_command("-c", code), env=child_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
