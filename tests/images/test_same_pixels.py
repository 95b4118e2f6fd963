"""One image reader: the same file gives the same pixels through every caller."""

from __future__ import annotations

import ast
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tuningfork
from tuningfork.evaluation.baselines import _PIXELS, _pixels
from tuningfork.images import read_image
from tuningfork.images.encode import jpeg, shrink
from tuningfork.images.preprocess import Preprocess
from tuningfork.model.image_reader import ImageReader

fits = pytest.importorskip("astropy.io.fits")
pytest.importorskip("reproject")

SIDE = 72
RNG = np.random.default_rng(1)
Y, X = np.mgrid[:SIDE, :SIDE] - SIDE / 2
FLUX = np.stack([np.exp(-((X - 9) ** 2 + (Y + 4 * band) ** 2) / 50) for band in range(3)])
FLUX = (FLUX + RNG.normal(0, 0.01, FLUX.shape)).astype(np.float32)


def fits_file(angle: float, east: int) -> bytes:
    """Bands of an image with north `angle` degrees away from up, and east on the left (1) or right (-1)."""
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0})
    header["CRPIX1"] = header["CRPIX2"] = (SIDE + 1) / 2
    turn = np.radians(angle)
    matrix = np.diag([-east, 1]) @ [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]] * 0.4 / 3600
    for (row, column), value in np.ndenumerate(matrix):
        header[f"CD{row + 1}_{column + 1}"] = value
    stream = io.BytesIO()
    fits.PrimaryHDU(FLUX, header).writeto(stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    rgb = np.clip(FLUX.transpose(1, 2, 0) * 250, 0, 255)
    contents = {
        "turned.fits": fits_file(30, 1),
        "mirrored.fits": fits_file(0, -1),
        "packed.fits.gz": gzip.compress(fits_file(200, 1)),
        "galaxy.jpg": jpeg(rgb.astype(np.uint8)),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    Image.fromarray((rgb[:, :, 0] * 16).astype(np.uint16)).save(folder / "twelve.png")
    np.save(folder / "floats.npy", rgb / 255)
    return sorted(folder.iterdir())


FRAME = Preprocess(crop=1.0, size=SIDE, filter="box")


def predicting(path: Path) -> np.ndarray:
    (inputs,) = ImageReader((FRAME,)).read(path).inputs or [None]
    return inputs


def from_bytes(path: Path) -> np.ndarray:
    (inputs,) = ImageReader((FRAME,)).read(path.read_bytes()).inputs or [None]
    return inputs


def from_file_object(path: Path) -> np.ndarray:
    with open(path, "rb") as file:
        return read_image(file).rgb


def training(path: Path) -> np.ndarray:
    pytest.importorskip("torch")
    from tuningfork.training.dataset import ImageFiles

    return ImageFiles([path])[0]


def image_cache(path: Path) -> np.ndarray:
    pytest.importorskip("torch")
    from tuningfork.training.image_cache import content_key, open_cache

    folder = path.parent.with_name("cache")
    cache = open_cache([path], content_key([path.stem], [path]), SIDE, folder)
    return np.load(cache.file)[cache.rows[0]]


def prediction_page(path: Path) -> np.ndarray:
    from tuningfork.web.predict.read_job import ImageTask, ReadJob

    return ReadJob(ImageReader((FRAME,)), 10**6)._image(ImageTask(path.read_bytes(), SIDE))


CALLERS: list[Callable[[Path], np.ndarray]] = [
    predicting,
    from_bytes,
    from_file_object,
    training,
    image_cache,
    prediction_page,
]


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.__name__)
def test_every_caller_reads_the_same_pixels(caller: Callable[[Path], np.ndarray], files: list[Path]) -> None:
    different = [file.name for file in files if not np.array_equal(caller(file), read_image(file).rgb)]
    assert different == []


def test_evaluation_and_the_label_page_read_the_same_pixels(files: list[Path]) -> None:
    from tuningfork.web.label.image_job import JPEG_QUALITY, MAX_SIDE, _encode

    errors: list[object] = []
    rows, pixels = _pixels([file.name for file in files], {file.name: file for file in files}, errors)
    assert (rows, errors) == (list(range(len(files))), [])
    for file, found in zip(files, pixels, strict=True):
        rgb = read_image(file).rgb
        assert np.array_equal(found, _PIXELS(rgb).ravel())
        assert _encode(file).content == jpeg(shrink(rgb, MAX_SIDE), JPEG_QUALITY, subsampling="444")


def test_nothing_else_decodes_images() -> None:
    """Calibration, fine-tuning and reports have no decoder of their own, so that they cannot see other pixels."""
    root = Path(tuningfork.__file__).parent
    decoders = []
    for path in root.rglob("*.py"):
        if path.is_relative_to(root / "images"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = f"{ast.unparse(node.func.value)}.{node.func.attr}"
                if name == "Image.open" or node.func.attr in ("imread", "decode_jpeg", "getdata"):
                    decoders.append(f"{path.relative_to(root)}: {name}")
    # Images of our own in memory: what the simulation passes through JPEG, thumbnails. And a measurement.
    assert set(decoders) <= {
        "simulation/render.py: Image.open",
        "model/prediction_files.py: Image.open",
        "display/prediction_plots.py: Image.open",
        "evaluation/speed_runtimes.py: simplejpeg.decode_jpeg",
    }
