"""What each fault of a survey service gives: a catalogue against a faulty server on loopback, as a table.

python benchmarks/sky_faults.py
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from skyserver import FRAME, Fault, Source, picture, sky_server  # noqa: E402

from tuningfork.images.fits.framing import Framing  # noqa: E402
from tuningfork.images.read import read_image  # noqa: E402
from tuningfork.surveys import CutoutFormat, Targets, download_cutouts  # noqa: E402
from tuningfork.surveys.client import Client  # noqa: E402
from tuningfork.surveys.cutout import Cutout  # noqa: E402
from tuningfork.surveys.registry import SurveyOptions, open_source  # noqa: E402

#: Fault, how often it strikes (0: always), in words.
FAULTS = (
    ("", 0, "none"),
    ("429", 1, "429 with Retry-After: 1, once"),
    ("429", 0, "429 with Retry-After: 1, always"),
    ("429 for an hour", 0, "429 with Retry-After: 3600"),
    ("503", 2, "503, twice"),
    ("503", 0, "503, always"),
    ("500", 0, "500"),
    ("404", 0, "404"),
    ("400", 0, "400"),
    ("403", 0, "403"),
    ("page", 0, "HTML with status 200"),
    ("not a picture", 0, "wrong content type"),
    ("cut", 1, "body cut, once"),
    ("cut", 0, "body cut, always"),
    ("cut picture", 0, "a JPEG that ends in the middle"),
    ("empty", 0, "empty body"),
    ("closed", 0, "connection closed"),
    ("stall", 1, "stalls in the body, once"),
    ("stall", 0, "stalls in the body, always"),
    ("trickle", 0, "a byte at a time"),
    ("oversize", 0, "says 1 TB"),
    ("oversize untold", 0, "never ends"),
    ("redirects", 0, "redirects in a circle"),
    ("blank", 0, "blank tile"),
    ("other size", 0, "picture of another size"),
)
TRIES = 3


class Strangers:
    """Every place is asked for by a client of its own: what one host does to one row, others shall not feel."""

    def __init__(self, base: str) -> None:
        self._base = base

    def cutout(self, ra: float, dec: float, size: float, pixels: int) -> Cutout:
        with Client(rate=1000, tries=TRIES, pause=0.05, timeout=5, silence=2, max_bytes=2**22) as client:
            return open_source("legacy", SurveyOptions(base=self._base), client=client).cutout(ra, dec, size, pixels)


def main() -> None:
    galaxies = [Source(n % 4, 100.0 + n, 20.0) for n in range(len(FAULTS))]
    for galaxy in galaxies:
        # Drawn before anybody is impatient.
        picture(galaxy.number)
    with sky_server(galaxies) as sky, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for galaxy, (kind, times, _) in zip(galaxies, FAULTS, strict=True):
            if kind:
                sky.faults[galaxy.ra] = Fault(kind, times or 10**9)
        lines = [f"{n},{galaxy.ra},{galaxy.dec}" for n, galaxy in enumerate(galaxies)]
        # The row of a place that no survey has, and one without a place.
        lines += ["south,10,-60", "lost,,"]
        (folder / "places.csv").write_text("\n".join(["id,ra,dec", *lines]) + "\n")
        wanted = list(Targets(str(folder / "places.csv"), Framing(size=FRAME)))
        made = download_cutouts(wanted, Strangers(sky.viewer), folder / "out", CutoutFormat(64))
        reasons = {error.id: error.reason.removeprefix(f"{sky.address.partition('//')[2]}: ") for error in made.errors}
        shown = [(told, str(n), sky.asked_of[100.0 + n]) for n, (_, _, told) in enumerate(FAULTS)]
        shown += [("outside of the footprint", "south", sky.asked_of[10.0]), ("no position", "lost", 0)]
        print(f"| fault | the row's error | requests (at most {TRIES}) |\n|---|---|---|")
        for told, id_, asked in shown:
            file = folder / "out" / "00000" / f"{id_}.png"
            if id_ not in reasons:
                assert read_image(file).rgb.shape == (64, 64, 3)
            else:
                assert not file.exists()
            print(f"| {told} | {reasons.get(id_, '– (picture good)')} | {asked} |")
        left = [file.name for file in (folder / "out").rglob(".*.part")]
        print(f"\n{made.rows} rows, {made.failed} failed; half files left: {len(left)}")


if __name__ == "__main__":
    main()
