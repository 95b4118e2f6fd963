"""From simulated galaxies in a mosaic to a VOTable of votes: how exact positions, directions and votes are.

python benchmarks/sky_check.py [FOLDER]
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.units import arcsec, deg
from astropy.wcs import WCS
from PIL import Image
from scipy.ndimage import map_coordinates

import tuningfork
from tuningfork.images.fits.framing import FRAME_RADII
from tuningfork.simulation import draw, light
from tuningfork.simulation.canvas import CAMERA_PIXEL
from tuningfork.simulation.render import COMPOSITE_QUALITY, SKY_LIGHT, SKY_NOISE, stretch
from tuningfork.surveys.mosaic import MosaicSource
from tuningfork.tables import table_writer

GALAXIES, COLUMNS, CELL, STEP, OVERLAP, BORDER = 24, 6, 230, 400, 40, 12
SEED, NORTH = 5, 12


def sky_of_galaxies():
    """Galaxies on one plane of the sky: bands (3, H, W) g, r, i in nanomaggies, their middles and radii (arcsec)."""
    rng = np.random.default_rng(SEED)
    chosen = [g for g in (draw(SEED, n) for n in range(200)) if g.kind in ("elliptical", "disk") and g.petro_r90 < 9]
    chosen = chosen[:GALAXIES]
    plane = np.zeros((3, CELL * -(-GALAXIES // COLUMNS), CELL * COLUMNS), np.float32)
    middles = []
    for number, galaxy in enumerate(chosen):
        image = light(galaxy)[::-1]  # i, r, g → g, r, i
        side = image.shape[1]
        row, column = (CELL * n + (CELL - side) // 2 for n in divmod(number, COLUMNS))
        plane[:, row : row + side, column : column + side] += image
        middles.append((column + (side - 1) / 2, row + (side - 1) / 2))
    noise = (SKY_NOISE[:, None, None] * np.sqrt(1 + plane[::-1] / SKY_LIGHT[:, None, None]))[::-1]
    return plane + noise * rng.standard_normal(plane.shape, np.float32), np.array(middles), chosen


def straight_wcs(shape, angle=0.0, mirrored=False, scale=CAMERA_PIXEL):
    """A tangent plane around RA 150.1°, Dec 32.4°; north is turned by `angle` degrees."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.1, 32.4]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    turn = np.radians(angle)
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wcs.wcs.cd = np.diag([-1, 1]) @ turned @ np.diag([-1 if mirrored else 1, 1]) * scale / 3600
    wcs.wcs.set()
    return wcs


def seen_by(camera, side, plane, truth):
    """The plane as a turned or mirrored camera sees it: cubic, as this stands for the sky, not for what we do to it."""
    y, x = np.mgrid[:side, :side]
    at = truth.world_to_pixel(camera.pixel_to_world(x, y))
    return np.stack([map_coordinates(band, at[::-1], order=3, cval=np.nan) for band in plane])


def stars(camera, side, places):
    """Point sources on a camera (1, S, S): one in each place, and a fainter one `NORTH` arcsec north of it."""
    out = np.full((side, side), 1e-3, np.float32)
    y, x = np.mgrid[:side, :side]
    for north, light_ in ((0, 100), (NORTH, 50)):
        for column, row in zip(
            *camera.world_to_pixel(places.directional_offset_by(0 * deg, north * arcsec)), strict=True
        ):
            near = np.s_[max(0, int(row) - 15) : int(row) + 15, max(0, int(column) - 15) : int(column) + 15]
            out[near] += light_ * np.exp(-((x[near] - column) ** 2 + (y[near] - row) ** 2) / (2 * 1.5**2))
    return out[None]


def write_tiles(folder, seen, camera):
    """Cut into tiles that overlap, with borders of NaN."""
    folder.mkdir()
    side = seen.shape[1]
    for row in range(0, side, STEP):
        for column in range(0, side, STEP):
            rows, columns = (slice(max(0, n - OVERLAP), min(side, n + STEP + OVERLAP)) for n in (row, column))
            tile = seen[:, rows, columns].astype(np.float32)
            for edge in (np.s_[:, :BORDER], np.s_[:, -BORDER:], np.s_[:, :, :BORDER], np.s_[:, :, -BORDER:]):
                tile[edge] = np.nan
            fits.writeto(folder / f"tile-{row}-{column}.fits", tile, camera[rows, columns].to_header())
    return folder


def centroid(picture, column, row, reach=12):
    """Light's middle (column, row) near a pixel."""
    top, left = round(row) - reach, round(column) - reach
    part = picture[top : top + 2 * reach + 1, left : left + 2 * reach + 1].astype(float)
    part = np.clip(part - 0.2 * part.max(), 0, None)
    y, x = np.mgrid[top : top + len(part), left : left + part.shape[1]]
    return (part * x).sum() / part.sum(), (part * y).sum() / part.sum()


def errors(source, places):
    """The largest errors of position (arcsec) and direction (degrees)."""
    away, turned = [], []
    scale, pixels = 0.132, 401
    for place in places:
        picture = source.cutout(place.ra.deg, place.dec.deg, scale * pixels, pixels).rgb.mean(2)
        middle = (pixels - 1) / 2
        x, y = centroid(picture, middle, middle)
        north = centroid(picture, middle, middle - NORTH / scale)
        away.append(scale * np.hypot(x - middle, y - middle))
        turned.append(abs(np.degrees(np.arctan2(north[0] - x, y - north[1]))))
    return max(away), max(turned)


def told(name, votes, reference):
    """One line of how far votes (N, 37) are from those of reference."""
    away = np.abs(votes - reference)
    print(f"  votes against {name}: rms {np.sqrt((away**2).mean()):.4f}, largest {away.max():.3f}")


def main(folder):
    """Print the figures."""
    model = tuningfork.load()
    plane, middles, chosen = sky_of_galaxies()
    truth = straight_wcs(plane.shape[1:])
    places = truth.pixel_to_world(*middles.T)
    sizes = [FRAME_RADII * galaxy.petro_r90 for galaxy in chosen]
    pictures, jpegs, unpacked = [], [], []
    for (column, row), size in zip(middles, sizes, strict=True):
        side = round(size / CAMERA_PIXEL)
        left, top = round(column - (side - 1) / 2), round(row - (side - 1) / 2)
        cut = plane[::-1, top : top + side, left : left + side][:, ::-1]
        unpacked.append(np.asarray(Image.fromarray(stretch(cut)).resize((424, 424), Image.Resampling.LANCZOS)))
        composite = io.BytesIO()
        Image.fromarray(stretch(cut)).save(composite, "JPEG", quality=COMPOSITE_QUALITY)
        picture = Image.open(composite).resize((424, 424), Image.Resampling.LANCZOS)
        pictures.append(np.asarray(picture))
        jpegs.append(io.BytesIO())
        picture.save(jpegs[-1], "JPEG", quality=95)
    via_jpeg = model.predict([file.getvalue() for file in jpegs]).cumulative
    print(f"{len(chosen)} simulated galaxies, {CAMERA_PIXEL} arcsec a pixel; votes of one galaxy in several files:")
    planes = [fits_bytes(np.moveaxis(picture[::-1], 2, 0)) for picture in pictures]
    print("FITS of 8-bit planes")
    told("JPEG", model.predict(planes).cumulative, via_jpeg)
    print("the same pixels, never packed as JPEG")
    uncompressed = model.predict(unpacked).cumulative
    told("JPEG", uncompressed, via_jpeg)
    side = int(np.hypot(*plane.shape[1:])) + 8
    for angle, mirrored in ((0, False), (90, True), (33, False), (200, True)):
        name = f"{angle}{'-mirrored' * mirrored}"
        camera = straight_wcs((side, side), angle, mirrored)
        mosaic = MosaicSource(
            write_tiles(folder / f"tiles-{name}", seen_by(camera, side, plane, truth), camera), stretch="sdss"
        )
        cutouts = [mosaic.cutout(p.ra.deg, p.dec.deg, s, 424) for p, s in zip(places, sizes, strict=True)]
        predictions = model.predict([cutout.rgb for cutout in cutouts])
        table = predictions.to_table()
        file = folder / f"votes-{name}.vot"
        with table_writer(file, table.schema) as write:
            write(table)
        assert len(Table.read(file)) == len(chosen)
        tiles = len(list((folder / f"tiles-{name}").iterdir()))
        print(f"{tiles} FITS tiles of floats, north turned by {angle}°{', mirrored' * mirrored}")
        told("JPEG", predictions.cumulative, via_jpeg)
        told("the pixels never packed", predictions.cumulative, uncompressed)
        points = MosaicSource(
            write_tiles(folder / f"stars-{name}", stars(camera, side, places), camera), stretch="auto"
        )
        position, direction = errors(points, places)
        print(f"  largest error of position {position:.4f} arcsec ({position / CAMERA_PIXEL:.3f} px of the camera)")
        print(f"  largest error of direction {direction:.3f}°")


def fits_bytes(planes):
    """A FITS file in memory."""
    file = io.BytesIO()
    fits.writeto(file, planes)
    return file.getvalue()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
