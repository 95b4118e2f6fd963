"""Images of galaxies of known shape, as the survey's camera and its colour composites would show them."""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..images.fits.stretch import lupton
from .canvas import WEIGHTS, Canvas, band_ratios, sersic, texture
from .galaxy import EDGE_ON, FRAME, PETRO_R90, Galaxy

__all__ = ["light", "render", "stretch"]

Floats = NDArray[np.float32]

#: Band order everywhere here is i, r, g, as red, green, blue.
#: Noise of an empty sky pixel, and the sky's own light, nanomaggies (10^(-0.4 (m - 22.5))).
SKY_NOISE = np.array([0.038, 0.028, 0.021], np.float32)
SKY_LIGHT = np.array([1.05, 0.68, 0.27], np.float32)
#: Extinction by dust relative to r.
EXTINCTION = (0.75, 1.0, 1.4)
#: The two numbers of the asinh stretch.
SLOPE, SOFTENING = 1.25, 7.0
#: How much the bands' differences are exaggerated.
SATURATION = 1.2
#: A pixel that is brighter than this in a band is full: bright stars are white with coloured rims.
FULL_PIXEL = 40.0
#: The survey's own composites were JPEG files, of about this quality.
COMPOSITE_QUALITY = 82


def render(galaxy: Galaxy) -> NDArray[np.uint8]:
    """The colour image of a galaxy.

    Light is summed, blurred and made noisy on the camera's pixels, stretched to colours there, and
    only then, from a JPEG file, enlarged to the frame, as the survey's cutout service does: hence
    the soft look and the correlated noise of galaxies that are small on the sky.

    Returns
    -------
    (424, 424, 3) uint8
        Rows (0 at the top), columns, RGB.
    """
    image = light(galaxy)
    rng = np.random.default_rng([galaxy.seed, galaxy.index, 2])
    if galaxy.noise:
        spread = galaxy.noise * SKY_NOISE[:, None, None] * np.sqrt(1 + image / SKY_LIGHT[:, None, None])
        image += spread * rng.standard_normal(image.shape, np.float32)
        image += galaxy.noise * SKY_NOISE[:, None, None] * rng.normal(0, 0.12, (3, 1, 1)).astype(np.float32)
    composite = io.BytesIO()
    Image.fromarray(stretch(image)).save(composite, "JPEG", quality=COMPOSITE_QUALITY)
    return np.array(Image.open(composite).resize((FRAME, FRAME), Image.Resampling.LANCZOS))


def stretch(image: Floats) -> NDArray[np.uint8]:
    """Colours of a three-band image (3, H, W), in nanomaggies, as (H, W, 3) uint8 (Lupton et al. 2004)."""
    bands = np.minimum(image * WEIGHTS[:, None, None], FULL_PIXEL)
    colours = lupton(bands, slope=SLOPE, softening=SOFTENING, saturation=SATURATION)
    return np.ascontiguousarray((colours * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))


def light(galaxy: Galaxy) -> Floats:
    """The light that reaches the camera from a galaxy and its neighbours, without sky or noise.

    Returns
    -------
    (3, S, S) float32
        Bands i, r, g; rows (0 at the top); columns. Nanomaggies per camera pixel. S follows from
        petroR90 in arcsec.
    """
    canvas = Canvas(galaxy)
    rng = np.random.default_rng([galaxy.seed, galaxy.index, 1])
    if galaxy.kind == "star":
        canvas.bright_star(0, 0, 1.2, rng)
    else:
        _body(canvas, galaxy, rng)
        if galaxy.kind == "artifact":
            canvas.trail(rng)
    canvas.blur(rng)
    if galaxy.clumps and galaxy.kind in ("disk", "irregular"):
        _clumps(canvas, galaxy, rng)
    _stars(canvas, galaxy, rng)
    return canvas.image


def _body(canvas: Canvas, galaxy: Galaxy, rng: np.random.Generator) -> None:
    flux = 10 ** (0.4 * (22.5 - galaxy.magnitude))
    along, across = canvas.rotated(galaxy.position_angle)
    soft = np.float32(0.3 * canvas.scale)
    if galaxy.bulge_to_total > 0:
        q, c = galaxy.bulge_axis_ratio, np.float32(galaxy.bulge_boxiness)
        if c == 2:
            radius = np.sqrt(along**2 + (across / q) ** 2 + soft**2)
        else:
            radius = (np.abs(along) ** c + np.abs(across / q) ** c + soft**c) ** (1 / c)
        bulge = sersic(radius, galaxy.bulge_index, galaxy.bulge_radius)
        canvas.add(bulge, flux * galaxy.bulge_to_total, galaxy.bulge_colour)
    if galaxy.bulge_to_total < 1:
        _disk(canvas, galaxy, flux * (1 - galaxy.bulge_to_total), along, across, rng)
    if galaxy.dust_lane:
        height = 0.055 * PETRO_R90
        lane = np.exp(-0.5 * ((across - 0.3 * height) / height) ** 2 - 0.5 * (along / (0.6 * PETRO_R90)) ** 2)
        for band, depth in enumerate(EXTINCTION):
            canvas.image[band] *= np.exp(-np.float32(galaxy.dust_lane * depth) * lane)
    if galaxy.companion:
        _companion(canvas, galaxy, flux, rng)
    if galaxy.tails:
        _tails(canvas, galaxy, flux, rng)
    if galaxy.arc:
        _arc(canvas, galaxy, flux)


def _disk(canvas: Canvas, galaxy: Galaxy, flux: float, along: Floats, across: Floats, rng: np.random.Generator) -> None:
    h, q = np.float32(galaxy.disk_radius), np.float32(galaxy.disk_axis_ratio)
    if galaxy.inclination >= EDGE_ON:
        # A sheet with a sech² profile in height; its height is such that the second moments
        # (2 h² along, π²/12 z² across) have the axis ratio q.
        height = q * h * np.float32(math.sqrt(24) / math.pi)
        lopsided = 1 + np.float32(0.3 * galaxy.asymmetry) * np.tanh(along / h)
        sheet = np.exp(-np.abs(along) / h) / np.cosh(np.minimum(np.abs(across) / height, 20)) ** 2
        canvas.add(sheet * lopsided, flux, galaxy.disk_colour)
        return
    across = across / q
    if galaxy.asymmetry:
        along = along + np.float32(0.5 * galaxy.asymmetry) * h * np.tanh(across / (2 * h))
    radius = np.sqrt(along**2 + across**2 + np.float32(0.3 * canvas.scale) ** 2)
    angle = np.arctan2(across, along)
    winding = np.log(radius / h) * np.float32(galaxy.handedness / math.tan(math.radians(galaxy.pitch)))
    disk = np.exp(-radius / h)
    patches: Floats | np.float32 = np.float32(0)
    if galaxy.flocculence:
        # Sheared along the spiral, so that patches look like pieces of arms.
        patches = texture(angle - winding, 3 * np.log(radius / h + np.float32(0.3)), 7, 2.5, rng)
        patches *= np.minimum(radius / h, 1)
        disk *= np.exp(np.float32(0.32 * galaxy.flocculence) * patches)
    if galaxy.asymmetry:
        lumps = texture(along / h, across / h, 6, 1.3, rng)
        disk *= np.exp(np.float32(0.55 * galaxy.asymmetry) * lumps)
    parts = [(disk, 1.0, galaxy.disk_colour + 0.1 * galaxy.arm_strength)]
    if galaxy.arms:
        start = 0.8 * galaxy.bar_length if galaxy.bar else 0.45 * galaxy.disk_radius
        inner = 1 / (1 + np.exp((np.float32(start) - radius) / np.float32(0.15 * h)))
        phase = np.float32(galaxy.arms) * (angle - np.float32(math.radians(galaxy.arm_phase)) - winding)
        phase += np.float32(0.5 * galaxy.flocculence) * patches
        ridge = np.exp(np.float32(2.2) * (np.cos(phase) - 1))
        arms = disk * inner * ridge * (radius / h)
        parts.append((arms, 1.3 * galaxy.arm_strength, galaxy.disk_colour - 0.2))
    if galaxy.bar:
        sin, cos = (np.float32(f(math.radians(galaxy.bar_angle))) for f in (math.sin, math.cos))
        u = (along * cos + across * sin) / np.float32(galaxy.bar_length)
        v = (across * cos - along * sin) / np.float32(0.26 * galaxy.bar_length)
        parts.append((np.exp(-((u * u + v * v) ** 1.5)), 0.45 * galaxy.bar, galaxy.bulge_colour))
    if galaxy.ring:
        width = np.float32(0.11 * galaxy.ring_radius)
        annulus = np.exp(-0.5 * ((radius - np.float32(galaxy.ring_radius)) / width) ** 2)
        parts.append((annulus, 0.6 * galaxy.ring, galaxy.disk_colour - 0.1))
    total = sum(weight for _, weight, _ in parts)
    for profile, weight, colour in parts:
        canvas.add(profile, flux * weight / total, colour)


def _clumps(canvas: Canvas, galaxy: Galaxy, rng: np.random.Generator) -> None:
    """Star-forming regions, on the arms where there are any."""
    k, h = galaxy.clumps, galaxy.disk_radius
    radius = h * np.clip(rng.gamma(2.5, 0.8, k), 0.4, 4)
    angle = rng.uniform(0, 2 * math.pi, k)
    if galaxy.arms:
        winding = galaxy.handedness * np.log(radius / h) / math.tan(math.radians(galaxy.pitch))
        arm = 2 * math.pi * rng.integers(galaxy.arms, size=k) / galaxy.arms
        angle = math.radians(galaxy.arm_phase) + winding + arm + rng.normal(0, 0.15, k)
    along, across = radius * np.cos(angle), radius * np.sin(angle) * galaxy.disk_axis_ratio
    turn = math.radians(galaxy.position_angle)
    x = across * math.cos(turn) - along * math.sin(turn)
    y = across * math.sin(turn) + along * math.cos(turn)
    flux = 10 ** (0.4 * (22.5 - galaxy.magnitude)) * (1 - galaxy.bulge_to_total)
    share = rng.lognormal(math.log(0.004 + 0.006 * galaxy.asymmetry), 0.6, k)
    canvas.points(x, y, flux * share * band_ratios(rng.normal(0.12, 0.1, k)), size=1.2)


def _companion(canvas: Canvas, galaxy: Galaxy, flux: float, rng: np.random.Generator) -> None:
    turn = math.radians(galaxy.companion_angle)
    x, y = -galaxy.companion_distance * math.sin(turn), galaxy.companion_distance * math.cos(turn)
    along, across = canvas.rotated(rng.uniform(0, 180), x, y)
    radius = np.hypot(along, across / np.float32(rng.uniform(0.4, 0.95)))
    radius = np.sqrt(radius**2 + np.float32(0.3 * canvas.scale) ** 2)
    size = 14 * math.sqrt(galaxy.companion) * rng.uniform(0.6, 1)
    colour = galaxy.bulge_colour + rng.normal(-0.05, 0.12)
    canvas.add(sersic(radius, rng.uniform(1, 3.5), size), flux * galaxy.companion, colour)


def _tails(canvas: Canvas, galaxy: Galaxy, flux: float, rng: np.random.Generator) -> None:
    """One or two arms of wide pitch that leave the galaxy."""
    turn = math.radians(galaxy.companion_angle)
    radius = np.hypot(canvas.x, canvas.y) / np.float32(PETRO_R90)
    angle = np.arctan2(-canvas.x, canvas.y) - np.float32(turn)
    for side in range(int(rng.integers(1, 3))):
        bend = np.float32(rng.choice((-1, 1)) * rng.uniform(0.6, 1.4))
        offset = angle - np.float32(side * math.pi) - bend * radius
        ridge = np.exp(np.float32(rng.uniform(8, 20)) * (np.cos(offset) - 1))
        reach = np.float32(rng.uniform(0.5, 0.9))
        tail = ridge * np.exp(-0.5 * ((radius - reach) / (np.float32(0.5) * reach)) ** 2)
        canvas.add(tail, 0.16 * galaxy.tails * flux, galaxy.disk_colour)


def _arc(canvas: Canvas, galaxy: Galaxy, flux: float) -> None:
    radius = np.hypot(canvas.x, canvas.y)
    angle = np.arctan2(-canvas.x, canvas.y) - np.float32(math.radians(galaxy.companion_angle))
    arc = np.exp(-0.5 * ((radius - np.float32(galaxy.arc_radius)) / 2) ** 2 + 6 * (np.cos(angle) - 1))
    canvas.add(arc, 0.05 * galaxy.arc * flux, 0.2)


def _stars(canvas: Canvas, galaxy: Galaxy, rng: np.random.Generator) -> None:
    """Neighbours: stars, small galaxies (round ones: at this size nobody can tell), a bright star."""
    k = galaxy.neighbours
    if k:
        x, y = rng.uniform(-FRAME / 2, FRAME / 2, (2, k))
        # By chance hardly any lie in front of the galaxy itself: those are moved outwards.
        clear = 0.9 * PETRO_R90
        distance = np.hypot(x, y)
        outwards = np.where(distance < clear, 2 * clear / distance - 1, 1)
        x, y = x * outwards, y * outwards
        flux = 10 ** (0.4 * (22.5 - np.clip(22.1 - rng.exponential(1.6, k), 14.5, 22.1)))
        colour = rng.choice((0.05, 0.4, 0.75, 1.4), k, p=(0.15, 0.3, 0.3, 0.25)) + rng.normal(0, 0.08, k)
        bands = flux * band_ratios(colour)
        star = rng.uniform(size=k) < 0.65
        canvas.points(x[star], y[star], bands[:, star])
        canvas.points(x[~star], y[~star], bands[:, ~star], size=0.8 / galaxy.petro_r90 * PETRO_R90)
    if galaxy.bright_star:
        distance, angle = rng.uniform(60, 260), rng.uniform(0, 2 * math.pi)
        canvas.bright_star(distance * math.cos(angle), distance * math.sin(angle), galaxy.bright_star, rng)
