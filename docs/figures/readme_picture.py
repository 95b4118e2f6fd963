"""Draws docs/galaxies.png: simulated galaxies with what the default model says of them."""

import argparse
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import tuningfork
from tuningfork.simulation import draw, render

INDICES = range(8)
SIDE, TEXT, GAP, COLUMNS = 300, 194, 12, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/galaxies.png"))
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument("--indices", type=int, nargs="+", default=INDICES)
    args = parser.parse_args()
    model = tuningfork.load()
    rows = -(-len(args.indices) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, rows * (SIDE + TEXT + GAP) + GAP), (16, 18, 24))
    pen = ImageDraw.Draw(sheet)
    head, body = ImageFont.load_default(17), ImageFont.load_default(15)
    for place, index in enumerate(args.indices):
        left = GAP + place % COLUMNS * (SIDE + GAP)
        top = GAP + place // COLUMNS * (SIDE + TEXT + GAP)
        picture = render(draw(args.seed, index))
        prediction = model.predict(picture)
        sheet.paste(Image.fromarray(picture).crop((62, 62, 362, 362)), (left, top))
        words = textwrap.wrap(prediction.description, 36)[:2]
        for line, text in enumerate([*words, *[""] * (2 - len(words))]):
            pen.text((left, top + SIDE + 6 + 22 * line), text, "white", head)
        pen.text((left, top + SIDE + 52), prediction.class_summary.partition(";")[0], (176, 182, 194), body)
        for line, (key, answer, share) in enumerate(prediction.steps()[:5]):
            y = top + SIDE + 80 + 21 * line
            pen.rectangle((left, y + 3, left + 60, y + 15), fill=(52, 58, 70))
            pen.rectangle((left, y + 3, left + round(60 * share), y + 15), fill=(86, 180, 233))
            # The first question's answer says itself what was asked.
            text = f"{key.replace('_', ' ')}: {answer}" if line else answer
            pen.text((left + 68, y), f"{text} {share:.0%}", (210, 214, 222), body)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.out, optimize=True)


if __name__ == "__main__":
    main()
