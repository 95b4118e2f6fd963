"""Fuzzing with a fixed budget: mutated images, FITS headers, tables, archives and bundles never escape our errors.

`pytest -m slow -s tests/test_fuzz.py` prints the seed, the inputs tried, the slowest and the peak memory of each kind.
TUNINGFORK_FUZZ_SECONDS sets the budget of each kind, TUNINGFORK_FUZZ_SEED repeats a run.
"""

from __future__ import annotations

import io
import os
import resource
import shutil
import tarfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tuningfork import TuningforkError, load_tree, read_image, read_labels, read_table, write_table
from tuningfork.inputs import ItemReader, find_items
from tuningfork.model.bundle import open_bundle
from tuningfork.simulation import draw, render
from tuningfork.simulation.dataset import votes_of

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
SECONDS = float(os.environ.get("TUNINGFORK_FUZZ_SECONDS", 12))
SEED = int(os.environ.get("TUNINGFORK_FUZZ_SEED", np.random.SeedSequence().generate_state(1)[0]))
#: One input may take so long, on a busy machine.
SLOWEST = 30.0


def _mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, cut, repeated or inserted, at one to eight places; often near the beginning, where headers are."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        size = max(len(out), 1)
        at = int(rng.integers(0, min(size, 4096) if rng.random() < 0.6 else size))
        kind = rng.integers(0, 5)
        if kind == 0:
            out[at : at + 1] = bytes([rng.integers(0, 256)])
        elif kind == 1:
            out[at : at + int(rng.integers(1, 64))] = b""
        elif kind == 2:
            out[at:at] = bytes(rng.integers(0, 256, rng.integers(1, 64), np.uint8))
        elif kind == 3:
            del out[int(rng.integers(0, size)) :]
        else:
            piece = out[at : at + 80]
            out[at:at] = piece * int(rng.integers(1, 4))
    return bytes(out)


def _fuzz(name: str, seeds: dict[str, bytes], use: Callable[[str, bytes], object]) -> None:
    """Use mutated inputs until the budget is spent; only our own errors may come out, and no input may take long."""
    rng = np.random.default_rng([SEED, *name.encode()])
    kinds, tried, refused, slowest = sorted(seeds), 0, 0, (0.0, "")
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        kind = kinds[int(rng.integers(len(kinds)))]
        data = _mutated(seeds[kind], rng)
        began = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                use(kind, data)
        except TuningforkError:
            refused += 1
        except Exception as error:
            raise AssertionError(
                f"{name}, {kind}, seed {SEED}, input {tried}: {type(error).__name__}: {error}"
            ) from error
        slowest = max(slowest, (time.monotonic() - began, kind))
        tried += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name}: seed {SEED}, {tried} inputs, {refused} refused, 0 escapes, "
        f"slowest {slowest[0]:.2f} s ({slowest[1]}), peak {peak:.0f} MB"
    )
    assert tried > 20
    assert slowest[0] < SLOWEST


@pytest.fixture(scope="module")
def images() -> dict[str, bytes]:
    """One small galaxy in every format."""
    fits = pytest.importorskip("astropy.io.fits", reason="the extra `sky` is not installed")
    image = Image.fromarray(render(draw(2, 0))).resize((96, 96))
    out = {}
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"):
        stream = io.BytesIO()
        image.save(stream, kind)
        out[kind] = stream.getvalue()
    stream = io.BytesIO()
    image.save(stream, "JPEG", progressive=True)
    out["progressive JPEG"] = stream.getvalue()
    stream = io.BytesIO()
    image.save(stream, "TIFF", compression="tiff_adobe_deflate")
    out["deflated TIFF"] = stream.getvalue()
    stream = io.BytesIO()
    np.save(stream, np.asarray(image))
    out["npy"] = stream.getvalue()
    grey = np.asarray(image.convert("L"), np.float32)
    for name, hdus in (
        ("FITS", [fits.PrimaryHDU(grey)]),
        ("FITS cube", [fits.PrimaryHDU(np.stack([grey] * 3))]),
        ("FITS tiles", [fits.PrimaryHDU(), fits.CompImageHDU(grey.astype(np.int16))]),
    ):
        stream = io.BytesIO()
        fits.HDUList(hdus).writeto(stream)
        out[name] = stream.getvalue()
    return out


def test_images(images):
    _fuzz("images", images, lambda _, data: read_image(data))


def test_tables(tmp_path):
    pytest.importorskip("astropy", reason="the extra `sky` is not installed")
    tree = load_tree("gz2")
    votes = np.stack([votes_of(draw(2, index), 40) for index in range(6)])
    table = pa.table({"GalaxyID": [str(n) for n in range(6)], **dict(zip(tree.columns, votes.T, strict=True))})
    seeds = {}
    for extension in ("csv", "parquet", "fits", "ecsv", "vot"):
        write_table(tmp_path / f"seed.{extension}", table)
        seeds[extension] = (tmp_path / f"seed.{extension}").read_bytes()

    def use(kind: str, data: bytes) -> None:
        path = tmp_path / f"mutated.{kind}"
        path.write_bytes(data)
        read_table(path)
        read_labels(path, tree)

    _fuzz("tables", seeds, use)


def test_archives(images, tmp_path):
    seeds = {}
    with tarfile.open(tmp_path / "seed.tar", "w") as tar:
        for name in ("JPEG", "PNG"):
            member = tarfile.TarInfo(f"{name}.{name.lower()}")
            member.size = len(images[name])
            tar.addfile(member, io.BytesIO(images[name]))
    with zipfile.ZipFile(tmp_path / "seed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("JPEG", "PNG"):
            archive.writestr(f"{name}.{name.lower()}", images[name])
    for kind in ("tar", "zip"):
        seeds[kind] = (tmp_path / f"seed.{kind}").read_bytes()

    def use(kind: str, data: bytes) -> None:
        path = tmp_path / f"mutated.{kind}"
        path.write_bytes(data)
        with ItemReader() as reader:
            for item in find_items([path]):
                reader.prepare(item)()

    _fuzz("archives", seeds, use)


def test_bundles(tmp_path):
    import tuningfork

    source = Path(tuningfork.__file__).parent / "model" / "models" / "fast"
    seeds = {name: (source / name).read_bytes() for name in ("bundle.json", "CARD.md")}

    def use(kind: str, data: bytes) -> None:
        folder = tmp_path / "mutated"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        (folder / kind).write_bytes(data)
        open_bundle(folder)

    _fuzz("bundles", seeds, use)
