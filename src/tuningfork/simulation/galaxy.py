"""Galaxies of known shape: the parameters of one, and a population roughly like Galaxy Zoo 2's."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["EDGE_ON", "FRAME", "KINDS", "PETRO_R90", "Galaxy", "draw", "petrosian_r90", "sersic_b"]

#: Side of the image, in pixels.
FRAME = 424
#: petroR90 of every galaxy, in pixels: the frame's pixel is 0.02 petroR90 (Willett et al. 2013).
PETRO_R90 = 50.0
#: From this inclination on, in degrees, a disk is drawn edge-on: no arms, bar or ring can be seen.
EDGE_ON = 80.0
KINDS = ("elliptical", "disk", "irregular", "star", "artifact")


@dataclass(frozen=True, slots=True)
class Galaxy:
    """The known shape of one simulated galaxy.

    Lengths are pixels of the 424 × 424 frame (0.02 petroR90 each) unless said otherwise, angles are
    degrees, position angles count from the image's top through its left (north through east).
    Strengths are 0 where the feature is absent and about 1 where it is striking.
    """

    seed: int  #: with `index`, the source of all randomness in the image
    index: int
    kind: str  #: one of `KINDS`
    petro_r90: float  #: arcsec; how many of the survey's pixels (0.396 arcsec) the galaxy spans
    magnitude: float  #: total, r band
    seeing: float = 1.2  #: full width at half maximum of the point spread function, arcsec
    noise: float = 1.0  #: sky noise, in units of the survey's usual one; 0 for none
    position_angle: float = 0.0  #: of the major axis, [0, 180)
    inclination: float = 0.0  #: 0 face-on, 90 edge-on
    thickness: float = 0.2  #: intrinsic axis ratio c/a of the disk
    bulge_to_total: float = 0.2  #: [0, 1]; 1 for an elliptical
    bulge_index: float = 4.0  #: Sérsic index n
    bulge_radius: float = 8.0  #: effective (half-light) radius
    bulge_thickness: float = 0.7  #: intrinsic axis ratio c/a of the bulge, or of an elliptical
    bulge_boxiness: float = 2.0  #: exponent of the isophotes: 2 ellipse, above 3 boxy
    bulge_colour: float = 0.8  #: g − r, magnitudes
    disk_radius: float = 14.0  #: exponential scale length
    disk_colour: float = 0.55  #: g − r, magnitudes
    bar: float = 0.0  #: strength
    bar_length: float = 15.0  #: half length
    bar_angle: float = 0.0  #: from the major axis, in the plane of the disk
    arms: int = 0  #: number of spiral arms, 0–6
    arm_strength: float = 0.0  #: strength of the arms
    pitch: float = 18.0  #: pitch angle of the logarithmic spiral: small is tightly wound
    handedness: int = 1  #: +1 or -1, the sense in which the arms wind
    arm_phase: float = 0.0  #: angle of the first arm where it leaves the scale length, from the major axis
    flocculence: float = 0.0  #: strength of broken, patchy structure in the disk
    clumps: int = 0  #: number of bright star-forming regions
    asymmetry: float = 0.0  #: lopsidedness and irregular patches
    ring: float = 0.0  #: strength
    ring_radius: float = 25.0
    dust_lane: float = 0.0  #: optical depth in r at the centre of the lane
    arc: float = 0.0  #: strength of a gravitational arc
    arc_radius: float = 30.0
    tails: float = 0.0  #: strength of tidal tails
    companion: float = 0.0  #: the companion's light over the galaxy's
    companion_distance: float = 30.0
    companion_angle: float = 0.0  #: position angle of the companion, [0, 360)
    bright_star: float = 0.0  #: strength of a saturated star that spoils the frame
    neighbours: int = 0  #: number of stars and small galaxies elsewhere in the frame

    @property
    def disk_axis_ratio(self) -> float:
        """Apparent b/a of the disk."""
        return projected_axis_ratio(self.inclination, self.thickness)

    @property
    def bulge_axis_ratio(self) -> float:
        """Apparent b/a of the bulge, or of an elliptical."""
        return projected_axis_ratio(self.inclination, self.bulge_thickness)

    @property
    def axis_ratio(self) -> float:
        """Apparent b/a of the galaxy's outer parts."""
        return self.bulge_axis_ratio if self.bulge_to_total == 1 else self.disk_axis_ratio

    @property
    def surface_brightness(self) -> float:
        """Mean surface brightness inside petroR90, r magnitudes per square arcsec."""
        return self.magnitude + 2.5 * math.log10(math.pi * self.petro_r90**2)

    @property
    def resolution(self) -> float:
        """How many resolution elements (`seeing`) petroR90 holds."""
        return self.petro_r90 / self.seeing


def projected_axis_ratio(inclination: float, thickness: float) -> float:
    """Apparent axis ratio of an oblate spheroid of intrinsic ratio `thickness` (Hubble 1926)."""
    cos = math.cos(math.radians(inclination))
    return math.sqrt(cos**2 + thickness**2 * (1 - cos**2))


def sersic_b(index: float) -> float:
    """b_n of a Sérsic (1963) profile exp(-b_n (r/r_e)^(1/n)), n ≥ 0.5: Ciotti & Bertin 1999, eq. 18."""
    return 2 * index - 1 / 3 + 4 / (405 * index) + 46 / (25515 * index**2)


def petrosian_r90(galaxy: Galaxy) -> float:
    """Radius that holds 90 % of the Petrosian light of the face-on bulge and disk, in frame pixels.

    The Petrosian radius is where the local surface brightness falls to 0.2 of the mean inside, and
    the Petrosian light is that within twice this radius (Blanton et al. 2001).
    """
    has_bulge, has_disk = galaxy.bulge_to_total > 0, galaxy.bulge_to_total < 1
    longest = max(galaxy.disk_radius * has_disk, galaxy.bulge_radius * has_bulge)
    radius = longest * np.geomspace(0.01, 12, 240)
    n, scaled = galaxy.bulge_index, radius / galaxy.bulge_radius
    bulge = np.exp(-sersic_b(n) * scaled ** (1 / n))
    disk = np.exp(-radius / galaxy.disk_radius)
    step = 2 * math.pi * radius * np.gradient(radius)
    profile = galaxy.bulge_to_total * bulge / (bulge * step).sum()
    profile += (1 - galaxy.bulge_to_total) * disk / (disk * step).sum()
    inside = np.cumsum(profile * step)
    petrosian = radius[np.argmax(profile * math.pi * radius**2 < 0.2 * inside)]
    total = np.interp(2 * petrosian, radius, inside)
    return float(np.interp(0.9 * total, inside, radius))


def draw(seed: int, index: int) -> Galaxy:
    """Galaxy number `index` of the population `seed`: the same whatever other galaxies are drawn.

    Parameters
    ----------
    seed, index : int
        Both 0 or more. The generator is seeded by (seed, index) alone.
    """
    rng = np.random.default_rng([seed, index, 0])
    kind = str(rng.choice(KINDS, p=(0.41, 0.545, 0.03, 0.007, 0.008)))
    r90 = float(np.clip(rng.lognormal(math.log(5.8), 0.42), 3, 30))
    galaxy = Galaxy(
        seed=seed,
        index=index,
        kind=kind,
        petro_r90=r90,
        magnitude=0.0,
        seeing=float(np.clip(rng.normal(1.2, 0.13), 0.85, 1.7)),
        noise=float(rng.uniform(0.85, 1.2)),
        position_angle=float(rng.uniform(0, 180)),
        inclination=math.degrees(math.acos(rng.uniform())),
        thickness=float(rng.uniform(0.1, 0.22)),
        bulge_thickness=float(rng.uniform(0.55, 0.9)),
        neighbours=int(rng.poisson(2 + 4 * (r90 / 7) ** 2)),
        bright_star=float(rng.uniform(0.4, 1)) if rng.uniform() < 0.05 else 0.0,
    )
    shapes = {"elliptical": _elliptical, "disk": _disk, "irregular": _irregular}
    galaxy = _interaction(shapes.get(kind, _contaminant)(galaxy, rng), rng)
    scale = PETRO_R90 / petrosian_r90(galaxy)
    # Sizes were drawn relative to a disk of scale length 14; from here on they are true to the frame.
    galaxy = replace(
        galaxy,
        bulge_radius=galaxy.bulge_radius * scale,
        disk_radius=galaxy.disk_radius * scale,
        bar_length=galaxy.bar_length * scale,
    )
    brightness = rng.normal({"elliptical": 20.65, "disk": 20.95}.get(kind, 21.4), 0.45)
    magnitude = float(np.clip(brightness - 2.5 * math.log10(math.pi * r90**2), 11.5, 17.2))
    return replace(galaxy, magnitude=magnitude)


def _elliptical(galaxy: Galaxy, rng: np.random.Generator) -> Galaxy:
    flat = rng.uniform() < 0.3
    return replace(
        galaxy,
        bulge_to_total=1.0,
        bulge_index=float(rng.uniform(1.0, 2.2) if flat else rng.uniform(1.2, 3.6)),
        bulge_radius=14.0,
        bulge_thickness=float(rng.uniform(0.12, 0.35) if flat else np.clip(rng.normal(0.75, 0.12), 0.45, 0.97)),
        bulge_colour=float(rng.normal(0.76, 0.09) if rng.uniform() < 0.75 else rng.normal(0.5, 0.12)),
        dust_lane=float(rng.uniform(0.5, 1.5)) if rng.uniform() < 0.01 else 0.0,
    )


def _disk(galaxy: Galaxy, rng: np.random.Generator) -> Galaxy:
    bulge = float(np.clip(rng.beta(1.3, 3.5), 0.01, 0.75))
    colour = float(rng.normal(0.35 + 0.35 * bulge, 0.11))
    spiral = rng.uniform() < 0.68
    barred = rng.uniform() < 0.36
    edge_on = galaxy.inclination >= EDGE_ON
    ringed = rng.uniform() < 0.07
    return replace(
        galaxy,
        bulge_to_total=bulge,
        bulge_index=float(rng.uniform(1, 4)),
        bulge_radius=float(14 * rng.uniform(0.15, 0.35) * (0.6 + bulge)),
        bulge_boxiness=float(rng.uniform(3.2, 4.5)) if edge_on and rng.uniform() < 0.2 else 2.0,
        bulge_colour=max(colour + 0.1, float(rng.normal(0.82, 0.07))),
        disk_radius=14.0,
        disk_colour=colour,
        bar=float(rng.uniform(0.35, 1)) if barred else 0.0,
        bar_length=float(14 * rng.uniform(0.7, 1.5)),
        bar_angle=float(rng.uniform(0, 180)),
        arms=int(rng.choice(6, p=(0.06, 0.58, 0.15, 0.09, 0.07, 0.05))) + 1 if spiral else 0,
        arm_strength=float(rng.uniform(0.25, 1)) if spiral else 0.0,
        pitch=float(np.clip(rng.normal(16, 6.5), 8, 38)),
        handedness=int(rng.choice((-1, 1))),
        arm_phase=float(rng.uniform(0, 360)),
        flocculence=float(rng.uniform(0.3, 1.0) if spiral else rng.uniform(0, 0.4)),
        clumps=int(rng.poisson(14 * max(0.0, 0.75 - colour) * (1 - bulge) * (1 + spiral))),
        asymmetry=float(rng.uniform(0, 0.25)),
        ring=float(rng.uniform(0.4, 1)) if ringed else 0.0,
        ring_radius=float(rng.uniform(18, 34)),
        dust_lane=float(rng.uniform(0.6, 2.5)) if galaxy.inclination > 72 and rng.uniform() < 0.2 else 0.0,
    )


def _irregular(galaxy: Galaxy, rng: np.random.Generator) -> Galaxy:
    return replace(
        galaxy,
        inclination=min(galaxy.inclination, 70.0),
        thickness=float(rng.uniform(0.3, 0.6)),
        bulge_to_total=float(rng.uniform(0, 0.05)),
        bulge_index=1.0,
        bulge_radius=3.0,
        bulge_colour=0.5,
        disk_colour=float(rng.normal(0.22, 0.1)),
        bar=float(rng.uniform(0, 0.5)),
        flocculence=float(rng.uniform(0.5, 1)),
        clumps=int(rng.integers(4, 20)),
        asymmetry=float(rng.uniform(0.6, 1)),
        bar_angle=float(rng.uniform(0, 180)),
    )


def _contaminant(galaxy: Galaxy, rng: np.random.Generator) -> Galaxy:
    index = float(rng.uniform(1, 3))
    return replace(galaxy, bulge_to_total=1.0, bulge_index=index, bulge_radius=14.0, bright_star=0.0)


def _interaction(galaxy: Galaxy, rng: np.random.Generator) -> Galaxy:
    """Companions, tidal tails and gravitational arcs, each in a few per cent of the galaxies."""
    fate = rng.uniform()
    if galaxy.kind in ("star", "artifact") or fate > 0.115:
        return galaxy
    angle = float(rng.uniform(0, 360))
    if fate < 0.05:
        return replace(
            galaxy,
            companion=float(rng.uniform(0.25, 1)),
            companion_distance=float(rng.uniform(14, 48)),
            companion_angle=angle,
            tails=float(max(0.0, rng.uniform(-0.6, 0.8))),
            asymmetry=max(galaxy.asymmetry, float(rng.uniform(0, 0.6))),
        )
    if fate < 0.095:
        return replace(
            galaxy,
            tails=float(rng.uniform(0.4, 1)),
            asymmetry=float(rng.uniform(0.4, 0.9)),
            companion_angle=angle,
        )
    return replace(galaxy, arc=float(rng.uniform(0.4, 1)), arc_radius=float(rng.uniform(20, 36)), companion_angle=angle)
