"""Screenshot of the prediction page for the documents: simulated galaxies in Chromium, to docs/images/service.webp.

python docs/figures/service_picture.py
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

TARGET = Path(__file__).parents[1] / "images/service.webp"
WIDTH, HEIGHT = 1240, 860


def main() -> None:
    """Start the service, take the screenshot, write it."""
    command = [sys.executable, "-m", "tuningfork", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, sync_playwright() as started:
        try:
            browser = started.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = browser.new_page(
                viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="dark", reduced_motion="reduce"
            )
            page.goto(process.stdout.readline().split()[0])
            page.get_by_role("button", name="Try simulated galaxies").click()
            page.locator("#progress-text").get_by_text("8 galaxies", exact=True).wait_for()
            page.locator(".tile").nth(5).click()
            page.get_by_role("button", name="Where it looked").click()
            page.locator(".heat").wait_for()
            page.evaluate("window.scrollTo(0, 0)")
            screenshot = Image.open(io.BytesIO(page.screenshot()))
            browser.close()
        finally:
            process.terminate()
    TARGET.parent.mkdir(exist_ok=True)
    screenshot.convert("RGB").save(TARGET, quality=80, method=6)
    print(f"{TARGET}: {TARGET.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
