"""Print what becomes of inputs that public bug reports describe, and of their twins, as a page of the documents.

    python scripts/cases.py > docs/develop/cases.md

The inputs are in the folder ``cases`` of ``../shared`` or of TUNINGFORK_SHARED; without it only the twins are tried.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from tuningfork import TuningforkError, load, load_tree, read_table
from tuningfork._utils.environment import child_environment, python_command
from tuningfork.cli import app

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("TUNINGFORK_SHARED") or ROOT.parent / "shared") / "cases"
Rows = list[dict[str, object]]


class Case:
    """The commands of a case, run in a copy of its folder."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.code = 0

    def run(self, words: str) -> str:
        """Run a command; gives what it prints."""
        extra = ["--model", "fast", "--views", "1"] if words.startswith("predict") else []
        result = CliRunner().invoke(app, [*words.split(), *extra])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.code = result.exit_code
        self.messages += [line for line in result.output.splitlines() if line.startswith(("error:", "failed:"))]
        return result.output

    def predict(self, words: str, output: str = "out.csv") -> Rows:
        """Predict; gives the rows of the table, none if it failed."""
        Path(output).unlink(missing_ok=True)
        self.run(f"predict {words} -o {output}")
        rows: Rows = read_table(output).to_pylist() if Path(output).exists() else []
        self.messages += [f"warning: {row['warning']}" for row in rows if row["warning"]]
        return rows


def distance(one: dict[str, object], other: dict[str, object]) -> float:
    """Root mean square difference of two rows' fractions."""
    names = [name for name in one if name.startswith(("smooth-or", "disk-edge", "bar_", "spiral", "bulge", "odd"))]
    names = [name for name in names or one if isinstance(one[name], float) and isinstance(other[name], float)]
    return float(np.sqrt(np.mean([(float(one[n]) - float(other[n])) ** 2 for n in names])))  # type: ignore[arg-type]


def near(rows: Rows, positions: list[tuple[float, float]]) -> bool:
    """Whether the rows have these positions, degrees."""
    actual = [(row["ra"], row["dec"]) for row in rows]
    return len(actual) == len(positions) and bool(np.allclose(actual, positions, atol=1e-4))  # type: ignore[arg-type]


def degrees() -> list[tuple[float, float]]:
    return [(row["ra"], row["dec"]) for row in read_table("degrees.csv").to_pylist()]


def pairs(case: Case, first: str) -> bool:
    return "3 pairs" in case.run(f"match {first} degrees.csv --radius 1arcsec -o pairs.csv --overwrite")


def radians(case: Case) -> bool:
    good = near(case.predict("hsc_radians.fits"), degrees()) and near(case.predict("hours.ecsv", "out2.csv"), degrees())
    case.run("cutouts hsc_radians.fits --source tiles/ --size 30 -o cut")
    layers = [row["layer"] for row in read_table("cut/cutouts.parquet").to_pylist() if row["path"]]
    return good and layers == ["right.fits"] and pairs(case, "out.csv") and pairs(case, "hsc_radians.fits")


def sexagesimal(case: Case) -> bool:
    return (
        near(case.predict("sexagesimal.csv"), degrees())
        and pairs(case, "sexagesimal.csv")
        and pairs(case, "vizier.vot")
    )


def float_labels(case: Case) -> bool:
    case.run("classes labels_int64.fits -o a.csv")
    exact = [row["GalaxyID"] for row in read_table("a.csv").to_pylist()]
    case.run("classes labels_float64.fits -o b.csv")
    return exact[0] == 587722981742936065 and not Path("b.csv").exists() and "last digits" in case.messages[-1]


def dot_zero(case: Case) -> bool:
    case.run("classes labels_from_pandas.csv -o c.csv")
    case.predict("img")
    case.run("evaluate out.csv labels_from_pandas.csv --resamples 10")
    return {row["GalaxyID"] for row in read_table("c.csv").to_pylist()} == {100502, 100021, 100281} and case.code == 0


def axes(case: Case) -> bool:
    one, other = case.predict("plain2d.fits four_axes.fits --stretch euclid")
    return distance(one, other) < 1e-6


def swapped(case: Case) -> bool:
    one, other = case.predict("galaxy.jpg rgb_hdus.fits --bands B,G,R")
    return distance(one, other) < 0.01


def sip(case: Case) -> bool:
    one, other = case.predict("cube_tan.fits cube_sip.fits --stretch sdss --size 168")
    return distance(one, other) < 0.02 and not other["warning"]


def failures(names: str, number: int, word: str = "") -> Callable[[Case], bool]:
    """A prediction in which so many rows fail or have a warning."""

    def check(case: Case) -> bool:
        rows = case.predict(names)
        return sum(bool(row["error"] or row["warning"]) for row in rows) == number and word in " ".join(case.messages)

    return check


def blank(case: Case) -> bool:
    first = case.predict("whole.fits one_band_zero.fits half_zero.fits --stretch sdss")
    second = case.predict("all_zero.fits black.jpg", "out2.csv")
    return all(row["error"] or row["warning"] for row in [*first[1:], *second]) and not first[0]["warning"]


def compressed(case: Case) -> bool:
    ids = [row["id"] for row in case.predict("cutouts --stretch sdss")]
    return ids == ["g1", "g2", "g3"] and [row["id"] for row in case.predict("only_gz --stretch sdss", "o.csv")] == [
        "g2"
    ]


def iau_names(case: Case) -> bool:
    ids = [row["id"] for row in case.predict("decals.tar")]
    return ids == ["J112953.88-000427.4", "J112953.90-000512.1"] and ids == [
        r["id"] for r in case.predict("decals.zip")
    ]


def fits_plus(case: Case) -> bool:
    return [row["id"] for row in case.predict("basic.fits")] == [row["id"] for row in case.predict("fits_plus.fits")]


def mask_bit(case: Case) -> bool:
    rows = case.predict("hsc.fits --stretch euclid --mask MASK")
    named = bool(rows[0]["error"]) and "--mask-bits" in str(rows[0]["error"])
    return named and not case.predict("hsc.fits --stretch euclid --mask MASK --mask-bits 1")[0]["error"]


def depths(case: Case) -> bool:
    rows = case.predict("grey8.png grey16.png grey12in16.png grey8in16.png grey_float01.npy grey_float01.tif")
    return max(distance(rows[0], row) for row in rows) < 0.05 and bool(rows[2]["warning"] and rows[3]["warning"])


def pillow(case: Case) -> bool:
    import io

    from PIL import Image

    image, model = Image.new("RGB", (64, 64), (9, 20, 70)), load("fast")
    stream = io.BytesIO()
    image.save(stream, "PNG")
    for source in (image, [image], io.BytesIO(stream.getvalue())):
        model.predict(source, n_views=1)
    try:
        model.predict(7)  # type: ignore[arg-type]
    except TypeError as error:
        case.messages.append(f"error: {error}")
        return True
    return False


def gzipped(case: Case) -> bool:
    return all(len(case.predict(name)) == 3 for name in ("cat.csv.gz", "cat.fits.gz"))


def negative(case: Case) -> bool:
    return near(case.predict("minus180.csv"), degrees()) and pairs(case, "minus180.csv")


def skyserver(case: Case) -> bool:
    rows = case.predict("skyserver.csv")
    return len(rows) == 3 and "3 pairs" in case.run("match skyserver.csv skyserver.csv --radius 1arcsec -o m.csv")


def ascii_locale(case: Case) -> bool:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = ["-m", "tuningfork", "predict", "img", "-o", "out.csv", "--model", "fast"]
    case.code = subprocess.run(
        python_command(*words), env=child_environment() | ascii_only, stdout=subprocess.DEVNULL
    ).returncode
    return all(not row["error"] for row in read_table("out.csv").to_pylist())


CHECKS: dict[str, Callable[[Case], bool]] = {
    "01": radians,
    "02": sexagesimal,
    "03": lambda case: not case.predict("targets.csv") and "last digits" in case.messages[-1],
    "04": float_labels,
    "05": dot_zero,
    "06": axes,
    "07": swapped,
    "08": sip,
    "09": failures("whole.jpg zeros_inside.jpg cut.jpg", 2),
    "10": blank,
    "11": compressed,
    "12": iau_names,
    "13": fits_plus,
    "14": lambda case: all(len(case.predict(f"{t}.fits")) == 3 for t in ("profmean_3d", "flags_bool", "complex")),
    "15": lambda case: "left out: linked folders 1" in case.run("predict project -o out.csv"),
    "16": mask_bit,
    "17": depths,
    "19": pillow,
    "20": gzipped,
    "21": failures("gri_cube.fits gri_hdus.fits", 1, "3 bands found"),
    "22": negative,
    "23": skyserver,
    "25": ascii_locale,
}


def readme() -> dict[str, tuple[str, str, str]]:
    """Number of each case → its title, what is expected, and what version 0.1.0 did."""
    text = (SHARED / "README.md").read_text("utf-8")
    cases = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title = part.splitlines()[0]
        expected, got = (re.search(rf"^{word}: (.*)$", part, re.MULTILINE)[1] for word in ("Expected", "Got"))  # type: ignore[index]
        cases[title[:2]] = title[3:].replace("-", " "), expected, got
    return cases


def cell(text: str) -> str:
    """A text as a cell of a table."""
    return " ".join(text.replace("|", "\\|").split()) or "–"


def cases() -> int:
    """Print the table of the cases; how many are not as expected."""
    print("| case | expected | before | now | as expected |\n|---|---|---|---|---|")
    wrong = 0
    for number, (title, expected, before) in readme().items():
        folder = next(SHARED.glob(f"{number}-*"), None)
        with tempfile.TemporaryDirectory() as place:
            if folder is not None:
                shutil.copytree(folder, place, symlinks=True, dirs_exist_ok=True)
            os.chdir(place)
            if number == "15":
                # Copies of the folder have lost its link.
                shutil.rmtree("project/field1", ignore_errors=True)
                Path("project/field1").unlink(missing_ok=True)
                Path("project/field1").symlink_to("../scratch")
            case = Case()
            try:
                good = CHECKS[number](case)
            except (TuningforkError, ValueError, KeyError, IndexError, OSError) as error:
                good = False
                case.messages.append(f"{type(error).__name__}: {error}")
            os.chdir(ROOT)
        wrong += not good
        now = "; ".join(dict.fromkeys(case.messages[:3])).replace(place, "") or "read"
        cells = (f"{number} {cell(title)}", cell(expected), cell(before), cell(now)[:300], "yes" if good else "NO")
        print("| " + " | ".join(cells) + " |")
    return wrong


def twins() -> int:
    """Print the table of the twins; how many are not as expected."""
    sys.path.append(str(ROOT / "tests" / "helpers"))
    from twins import TWINS

    print("| kind | input | now | as expected |\n|---|---|---|---|")
    wrong = 0
    for twin in TWINS:
        with tempfile.TemporaryDirectory() as place:
            text = twin.make(Path(place)).replace(f"{place}/", "")
        good = twin.expected in text
        wrong += not good
        print(f"| {twin.kind} | {cell(twin.what)} | {cell(text)[:300]} | {'yes' if good else 'NO'} |")
    return wrong


def main() -> None:
    """See the module."""
    load_tree("gz2")
    print("# Inputs of public bug reports\n\nBy `python scripts/cases.py > docs/develop/cases.md`.")
    wrong = 0
    if SHARED.is_dir():
        print("\n## Cases\n\nSmall inputs of the shape that public reports describe; before: version 0.1.0.\n")
        wrong += cases()
    print("\n## Twins\n\nFurther inputs of the same kinds, from `tests/helpers/twins.py`, which a test tries.\n")
    wrong += twins()
    print(f"\n{wrong} inputs are not as expected.")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
