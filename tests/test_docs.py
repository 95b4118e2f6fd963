"""The documents: printed commands parse and most are run, the reference is complete, links lead somewhere."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from PIL import Image

from tuningfork.cli import app
from tuningfork.simulation import simulate
from tuningfork.tables.csv import csv_text
from tuningfork.votes.tree_files import load_tree

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

import commands

PAGES = [ROOT / "README.md", *sorted(p for p in DOCS.rglob("*.md") if not {"_build", "reference"} & set(p.parts))]

#: How a line begins that is not one of our commands → why no test here runs it.
OTHERS = {
    "python studies": "needs galaxies that do not come with the package",
    "sh scripts/": "CI runs it itself",
    "pip install": "CI installs all of it",
    "python scripts/gpu/": "needs the results of a GPU job",
    "python docs/figures/field_guide.py": "tests/simulation/test_examples.py",
    "curl": "tests of the service ask it in every way",
    "job=$(sbatch": "tests/pipeline/test_shards.py runs this script without Slurm",
    "sbatch": "tests/pipeline/test_shards.py runs this script without Slurm",
    "SHARDS=50 sbatch": "tests/pipeline/test_shards.py runs this script without Slurm",
}
#: Words in one of our commands → why it is parsed, but not run, here.
NOT_RUN = {
    "tuningfork measure": "a second an image; tests/pipeline/test_measure.py",
    "--structure": "a second an image; tests/pipeline/test_predict_structure.py",
    "--by redshift": "needs a catalogue with redshifts; tests/evaluation/test_population.py has one",
    "--size 40": "needs a WCS; tests of FITS images have one",
    "--bands g,r,i": "needs files of three bands; tests/pipeline/test_predict_fits.py has some",
    "--mask DQ": "needs masks and radii; tests/pipeline/test_predict_fits.py has some",
    "--source": "asks services or tiles; tests/surveys/test_download.py does, on loopback",
    "s3://": "needs a store; tests/inputs/test_objects.py has one on loopback",
    "hats_catalogue/": "needs images in the HATS layout; tests/tables/test_hats.py has some",
    "--engine ray": "starts a cluster; tests/pipeline/test_ray.py does",
    "--address auto": "needs a cluster",
    "/project/": "paths of a cluster",
    "tuningfork train": "trains; tests/training does",
    "tuningfork calibrate": "needs a training's split; tests/evaluation/test_calibrate.py",
    "tuningfork study": "many trainings; tests/experiments",
    "tuningfork report": "needs a training's or a study's folder; tests/experiments/test_report.py",
    "tuningfork ood": "needs a training's split; tests/model/test_out_of_domain.py",
    "tuningfork bench": "minutes; tests/benchmarks",
    "--split": "needs a training's split; tests/cli",
    "run/bundle": "needs a training; tests/training/test_fine_tune.py",
    "calibrated": "needs a training; tests/evaluation/test_calibrate.py",
    "tuningfork serve": "does not end; tests of the service start it",
    "tuningfork label": "does not end; tests of labelling start it",
    "tuningfork send": "needs TOPCAT or Aladin; tests speak SAMP to a hub of their own",
    "tuningfork match": "needs positions; tests/tables/test_crossmatch.py",
    "tuningfork similar": "tests of similar galaxies",
    "tuningfork index": "tests of similar galaxies",
    "tuningfork map": "tests of similar galaxies",
    "gz_decals.parquet": "as gz_decals.csv",
    "gz2_hart16.csv --tree gz2_catalogue_weighted": "real galaxies; tests/training/test_dirichlet.py",
    "gz_decals.csv": "volunteers' votes of another survey; tests/votes/test_lint.py",
    "tuningfork rank": "tests/labelling",
}


def _examples(text):
    """The commands of all console blocks, continued lines joined, comments left out, with the output printed below."""
    for block in re.findall(r"^ *```console\n(.*?)^ *```", text, re.M | re.S):
        joined = re.sub(r"\\\n\s*", "", block)
        for example in re.split(r"^\s*\$ ", joined, flags=re.M)[1:]:
            line, _, output = example.partition("\n")
            yield re.sub(r"\s+#\s.*$", "", line).strip(), [each.strip() for each in output.splitlines() if each.strip()]


EXAMPLES = [(page, line, output) for page in PAGES for line, output in _examples(page.read_text("utf-8"))]
COMMANDS = [(page, line) for page, line, _ in EXAMPLES]
OURS = [(page, line) for page, line in COMMANDS if line.startswith("tuningfork ")]
RUN = [
    (page, line, output)
    for page, line, output in EXAMPLES
    if line.startswith("tuningfork ") and not any(words in line for words in NOT_RUN)
]
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def _alike(printed, real):
    """Whether a printed line is what a command wrote: numbers within 2 % or two units of their last digit.

    A `…` of its own, or beside a space, stands for any text, such as a time.
    """
    # Bars are as long as their numbers say; columns are as wide as the terminal.
    printed, real = (" ".join(re.sub("[█▏▎▍▌▋▊▉]+", "", line).split()) for line in (printed, real))
    if re.search(r"^…$|… | …", printed):
        return re.fullmatch(".*".join(map(re.escape, printed.split("…"))), real) is not None
    if NUMBER.sub("#", printed) != NUMBER.sub("#", real):
        return False
    pairs = zip(NUMBER.findall(printed), NUMBER.findall(real), strict=True)
    return all(
        abs(float(a) - float(b)) <= max(0.02 * float(a), 2 * 10.0 ** -len(a.partition(".")[2])) for a, b in pairs
    )


def _missing_lines(printed, real):
    """The printed lines that the real output lacks, or has in another order."""
    rest, missing = iter(line.strip() for line in real.splitlines()), []
    for line in printed:
        if not any(_alike(line, each) for each in rest):
            missing.append(line)
    return missing


def _name(case):
    return str(case.relative_to(ROOT)) if isinstance(case, Path) else case


def _parse(line):
    """Let our command line judge options, values and arguments, and do nothing."""
    words = shlex.split(line.split(" | ")[0].split(" > ")[0])[1:]
    command, name = typer.main.get_command(app), "tuningfork"
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        assert name in command.commands, f"no command {name!r}"
        command = command.commands[name]
    command.make_context(name, words)


def test_every_printed_command_parses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cutouts").mkdir()  # an argument that has to be a folder
    wrong = []
    for page, line in OURS:
        try:
            _parse(line)
        except Exception as error:
            wrong.append(f"{_name(page)}: {line}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("line", ["tuningfork predict a.jpg --nonsense", "tuningfork nothing", "tuningfork merge"])
def test_a_wrong_command_would_be_detected(line):
    with pytest.raises(Exception, match=r"(?i)nonsense|no command|missing"):
        _parse(line)


def test_another_output_would_be_detected():
    assert _missing_lines(["a 0.51 b", "c …"], "x\na 0.52 b\nc in 3 s\n") == []
    assert _missing_lines(["a 0.51 b"], "a 0.61 b") == ["a 0.51 b"]
    assert _missing_lines(["one", "two"], "two\none") == ["two"]


def test_no_output_stands_below_a_command_that_is_not_run():
    unchecked = [line for _, line, output in EXAMPLES if output and line not in {run for _, run, _ in RUN}]
    assert unchecked == []


def test_every_line_is_checked_or_listed_with_its_reason():
    lines = {line for _, line in COMMANDS}
    unknown = [line for line in lines if not line.startswith(("tuningfork ", *OTHERS))]
    assert unknown == []
    assert len(RUN) > 15
    assert [words for words in NOT_RUN if not any(words in line for line in lines)] == []
    assert [words for words in OTHERS if not any(line.startswith(words) for line in lines)] == []


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with all that the pages' commands name, of simulated galaxies."""
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder = tmp_path_factory.mktemp("desk")
    simulate(folder / "sim", 6, seed=6, workers=1)
    (folder / "sim/training_solutions_rev1.csv").rename(folder / "training_solutions_rev1.csv")
    pictures = folder / "images_training_rev1"
    (folder / "sim/images_training_rev1").rename(pictures)
    names = sorted(pictures.iterdir())
    for copy in ("cutouts", "images_test_rev1"):
        (folder / copy).mkdir()
        for picture in names:
            (folder / copy / picture.name).write_bytes(picture.read_bytes())
    (folder / "galaxy.jpg").write_bytes(names[0].read_bytes())
    table = pa.table({"objid": [path.stem for path in names], "file_loc": [str(path) for path in names]})
    parquet.write_table(table, folder / "catalogue.parquet")
    for name, trees in (("gz2_hart16", ["gz2_catalogue_debiased"]), ("gz_decals", ["gz_decals", "gz_decals_counts"])):
        known = [load_tree(tree) for tree in trees]
        header = [known[0].id_columns[0], *dict.fromkeys(column for tree in known for column in tree.columns)]
        (folder / f"{name}.csv").write_text(csv_text([header, ["587722981742936065", *[""] * (len(header) - 1)]]))
    (folder / "shards").mkdir()
    subprocess.run(["tar", "-cf", folder / "shards/0.tar", "-C", pictures, *(p.name for p in names)], check=True)
    if fits := _fits():
        for name in ("vis.fits", "galaxy.fits"):
            fits.writeto(folder / name, _grey(names[0]))
    return folder


def _fits():
    try:
        from astropy.io import fits
    except ImportError:
        return None
    return fits


def _grey(path):
    import numpy as np

    return np.asarray(Image.open(path).convert("L"), "f4")


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({page for page, *_ in RUN}), ids=_name)
def test_printed_commands_do_what_they_say(page, desk, run, monkeypatch):
    """Page by page in the order of the lines, since what one writes another reads."""
    pytest.importorskip("astropy", reason="the extra `sky` is not installed")
    monkeypatch.chdir(desk)
    monkeypatch.setenv("COLUMNS", "110")  # the width of what is printed
    for line, printed in ((line, printed) for where, line, printed in RUN if where == page):
        given = shlex.split(line.split(" | ")[0])[1:]
        words = [name for word in given for name in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
        output = Path(words[words.index("-o") + 1]) if "-o" in words else None
        if output and output.is_dir():
            shutil.rmtree(output)
        elif output and output.is_file() and "--add" not in words:
            output.unlink()  # another page's, or an alternative on this one; a reader begins in a folder of their own
        result = run(*words)
        assert output is None or output.exists(), line
        assert _missing_lines(printed, result.output) == [], f"{line}\n{result.output}"


# ------------------------------------------------------------------ the reference, the build


def test_the_reference_has_every_command_option_and_its_words():
    page = commands.reference()
    for name, command in commands.all_commands():
        _, _, rest = page.partition(f"## tuningfork {name}\n")
        section = rest.split("\n## ")[0]
        assert "```console\n$ tuningfork" in section or "$ " in section, f"{name} has no example"
        for parameter in command.params:
            if parameter.name in commands.COMMON:
                continue
            assert parameter.help, f"{name}: {parameter.name} says nothing"
            shown = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar or parameter.name]
            assert all(f"`{option}`" in section for option in shown), f"{name}: {shown}"
    # In a text two hyphens become a dash.
    assert not re.findall(r".*[^-]--[a-z].*", re.sub(r"```.*?```|`.*?`", "", page, flags=re.S))


def test_every_page_is_in_the_list_of_pages():
    index = (DOCS / "index.md").read_text("utf-8")
    listed = set(re.findall(r"^[\w/-]+$", index, re.M))
    sources = [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]
    pages = {str(p.relative_to(DOCS).with_suffix("")) for p in sources if "_build" not in p.parts}
    assert (pages | {"reference/commands", "reference/api"}) - listed == {"index"}


def test_links_between_pages_lead_somewhere():
    dead = []
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            built = target.removeprefix("../").startswith("reference/")
            if not built and not (page.parent / target).exists():
                dead.append(f"{_name(page)}: {target}")
    assert not dead, "\n".join(dead)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The documents with all notebooks run: those that `sh scripts/docs` has just built, or else built here."""
    for library in ("sphinx", "nbclient", "torch"):
        pytest.importorskip(library, reason="an extra, `docs` or `train`, is not installed")
    pages, complete = DOCS / "_build" / "html", DOCS / "_build" / "complete"
    sources = [*ROOT.glob("*.md"), *ROOT.glob("src/tuningfork/**/*.*"), *DOCS.rglob("*.*")]
    last = max(p.stat().st_mtime for p in sources if p.suffix != ".pyc" and "_build" not in p.parts and p.is_file())
    if complete.exists() and complete.stat().st_mtime > last:
        return pages
    pages = tmp_path_factory.mktemp("docs") / "html"
    words = ["-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(pages)]
    done = subprocess.run([sys.executable, "-m", "sphinx", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return pages


@pytest.mark.slow
def test_the_documents_build_without_a_warning_and_fetch_nothing(built):
    assert len(list(built.rglob("*.html"))) > len(PAGES)
    for page in built.rglob("*.html"):
        # Nothing is fetched from elsewhere when a page is opened.
        fetched = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page.read_text("utf-8"))
        assert [address for address in fetched if "canonical" not in address] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["first-prediction", "own-classes", "paper-in-small"])
def test_the_tutorials_show_what_their_cells_gave(built, name):
    """An error in a cell ends the build."""
    page = (built / "tutorials" / f"{name}.html").read_text("utf-8")
    assert page.count('class="notebook-output"') > 2
    assert ('class="tuningfork"' in page) == (name != "paper-in-small")  # predictions that display themselves
    assert str(Path(sys.prefix)) not in page  # no path of this machine on a page
