"""Draws docs/images/galaxies.webp: simulated galaxies and what the default model predicts, as the cards of the demo.

python docs/figures/readme_picture.py
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import tuningfork
from tuningfork.simulation import draw, render
from tuningfork.simulation.demo import DemoGalaxy, demo_page

#: Numbers of the population `--seed`: an unbarred and a barred spiral, a disk seen edge-on, a smooth galaxy.
INDICES = (0, 54, 6, 9)
WIDTH, QUESTIONS = 1180, 3
#: Cards in one row, without what belongs to a page.
_STYLE = """
.hero, .steps, .skip, details, .drawn { display: none !important }
.page { padding: 14px; max-width: none }
.galaxies { display: grid; grid-template-columns: repeat(4, 1fr); gap: 14px; columns: auto }
.galaxy { margin: 0; height: 100% } .galaxy .sky { aspect-ratio: 1.1 }
"""


def main() -> None:
    """Predict, render the cards in Chromium, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images/galaxies.webp"))
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument("--indices", type=int, nargs="+", default=INDICES)
    args = parser.parse_args()
    model = tuningfork.load()
    galaxies = []
    for index in args.indices:
        galaxy = draw(args.seed, index)
        rgb = render(galaxy)
        prediction = model.predict_loaded([model.image_reader.read(rgb, name=(f"galaxy {index}", ""))])[0]
        galaxies.append(DemoGalaxy(prediction, rgb, galaxy.kind))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        page_file = Path(folder) / "demo.html"
        page_file.write_text(demo_page(model, galaxies), "utf-8")
        browser = started.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": WIDTH, "height": 900},
            color_scheme="dark",
            reduced_motion="reduce",
            device_scale_factor=1.5,
        )
        page.goto(page_file.as_uri())
        page.add_style_tag(content=_STYLE)
        page.evaluate(
            "count => document.querySelectorAll('.galaxy').forEach(card => [...card.querySelectorAll(':scope > h3')]"
            ".slice(count).forEach(title => { title.nextElementSibling.remove(); title.remove() }))",
            QUESTIONS,
        )
        screenshot = page.locator(".page").screenshot()
        browser.close()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(screenshot)).convert("RGB").save(args.out, quality=78, method=6)
    print(f"{args.out}: {args.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
