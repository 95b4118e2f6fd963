"""The paper from its data to its tables: label checks, classes, split, trainings, ensembles; each step resumable."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from .._utils.environment import available_cores, child_environment, python_command
from .._utils.files import write_text
from .._utils.text import counted
from ..model.model import load
from ..pipeline.options import ExecutionOptions
from ..pipeline.predict import predict_files
from ..training.options import Hardware
from ..votes.class_counts import class_counts
from ..votes.label_table import read_labels
from ..votes.lint import lint
from ..votes.tree_files import load_tree
from .ensemble import write_ensemble
from .plan import ENSEMBLES, PlannedTraining, StudyError, StudyOptions, experiments, fit_budget, plan
from .runs import read_study
from .scores import best_run
from .throughput import galaxies_per_second

__all__ = ["PaperData", "find_data", "paper_study", "submit"]

logger = logging.getLogger(__name__)

_LIBRARIES = ("numpy", "torch", "timm", "lightning", "onnxruntime")
#: Share of the labelled galaxies that a training goes through, for an estimate of its time.
_TRAIN_SHARE = 0.81


@dataclass(frozen=True)
class PaperData:
    """The challenge's files: labels and images to learn from, and, if they are there, images to submit."""

    labels: Path
    images: Path
    test_images: Path | None


def find_data(folder: Path) -> PaperData:
    """Find Kaggle's files in a folder, as they are unpacked. Raises StudyError, naming what is missing."""
    labels = next(iter(sorted(folder.glob("*training_solutions_rev1*.csv"))), None)
    images = next((path for path in sorted(folder.glob("images_training*")) if path.is_dir()), None)
    for path, name in ((labels, "training_solutions_rev1.csv"), (images, "folder images_training_rev1")):
        if path is None:
            raise StudyError(f"{folder} has no {name}; unpack the challenge's files there")
    assert labels is not None
    assert images is not None
    test = next((path for path in sorted(folder.glob("images_test*")) if path.is_dir()), None)
    return PaperData(labels, images, test)


def paper_study(
    data: PaperData,
    output: Path,
    options: StudyOptions = StudyOptions(),
    *,
    cache: Path | None = None,
    hardware: Hardware = Hardware(),
) -> dict[str, Any]:
    """Carry out what is not yet done of the study in `output`; the same call continues after an interruption.

    Parameters
    ----------
    cache : Path, optional
        Folder of decoded images, shared by all trainings; None: `output`/cache.
    hardware : Hardware
        Of which `workers` and `threads` are used.

    Returns
    -------
    dict
        The content of ``study.json``; "failures" names the trainings that failed, with the reason.

    Raises
    ------
    StudyError
        If the folder holds a study of other data, or nothing can be planned.
    """
    started = time.monotonic()
    names = experiments(options.only, quick=options.quick)
    study = _open_study(data, output)
    counts, classes = study["lint"], study["classes"]
    logger.info(
        "labels: %d rows, %d complete, %d unusable, %d broken sums",
        *(counts[key] for key in ("rows", "complete_rows", "unusable_rows_count", "broken_sums_count")),
    )
    logger.info("classes: %s", ", ".join(f"{name} {count}" for name, count in classes.items()))
    # What was planned before keeps its length: half a training cannot get another schedule.
    trainings = [_as_planned_before(training, study) for training in plan(names, options)]
    waiting = [training for training in trainings if not _is_done(output, training)]
    logger.info("%s, %d of them done", counted(len(trainings), "training"), len(trainings) - len(waiting))
    study["options"].append({**asdict(options), "only": list(options.only)})
    left_out: list[str] = []
    if options.budget is not None:
        waiting, left_out = _within_budget(waiting, study, options.budget * 60)
    for training in [*waiting, *(entry for entry in trainings if _is_done(output, entry))]:
        if training in waiting or training.folder not in study["trainings"]:
            study["trainings"][training.folder] = {
                "recipe": training.recipe_name,
                "epochs": training.recipe.epochs,
                "full_epochs": training.full_epochs,
            }
    _write(output, study)
    for number, training in enumerate(waiting, 1):
        if options.budget is not None and time.monotonic() - started > options.budget * 60:
            left_out += [each.folder for each in waiting[number - 1 :]]
            break
        recipe = training.recipe
        of = "" if recipe.epochs == training.full_epochs else f" of {training.full_epochs}"
        logger.info(
            "[%d/%d] %s, seed %d: %d px, epochs: %d%s",
            number, len(waiting), training.recipe_name, recipe.seed, recipe.size, recipe.epochs, of,
        )  # fmt: skip
        reason = _train(training, data, output, cache or output / "cache", hardware)
        if reason:
            study["failures"][training.folder] = reason
            logger.warning("failed: %s: %s", training.folder, reason)
        else:
            study["failures"].pop(training.folder, None)
        _write(output, study)
    for folder in left_out:
        logger.warning("no time for %s; run the same command again", folder)
    study["left_out"] = left_out
    for name in names:
        if name in ENSEMBLES:
            for seed in range(options.seeds):
                write_ensemble(name, options.settings, seed, output)
    _write(output, study)
    return study


def submit(data: PaperData, output: Path, progress: Callable[[int, int], None] | None = None) -> str:
    """Write ``submission.csv``: the challenge's test images by the study's best votes, chosen on the validation part.

    Returns
    -------
    str
        What was done, or why there was nothing to do.
    """
    if data.test_images is None:
        return "no test images (folder images_test_rev1), so no submission"
    best = best_run(read_study(output).everything, "votes")
    if best is None:
        return "no training predicts votes, so no submission"
    file, mark = output / "submission.csv", output / "submission.json"
    model = load(best.folder / "bundle")
    about = {"model": best.name, "sha256": model.bundle.sha256, "images": str(data.test_images)}
    if file.exists() and mark.exists() and json.loads(mark.read_text("utf-8")) == about:
        return f"{file}: written before, by {best.name}"
    execution = ExecutionOptions(resume=True)
    done = predict_files(model, [data.test_images], file, execution=execution, layout="kaggle", progress=progress)
    write_text(mark, json.dumps(about, indent=1) + "\n")
    return f"{file}: {done.rows} galaxies, {done.failed} failed, by {best.name}"


def _open_study(data: PaperData, output: Path) -> dict[str, Any]:
    """The content of study.json, or of a new one with the checks of the labels."""
    digest = hashlib.sha256(data.labels.read_bytes()).hexdigest()
    path = output / "study.json"
    if path.exists():
        study = json.loads(path.read_text("utf-8"))
        if study.get("data", {}).get("labels_sha256") != digest:
            raise StudyError(f"{output} holds a study of other labels; name another folder")
        return study
    output.mkdir(parents=True, exist_ok=True)
    labels = read_labels(data.labels, load_tree("gz2"))
    checks = lint(labels).to_dict()
    for key in ("unusable_rows", "broken_sums"):
        checks[f"{key}_count"] = len(checks[key])
        checks[key] = checks[key][:100]
    return {
        "format": "tuningfork-study",
        "version": 1,
        "data": {"labels": str(data.labels), "images": str(data.images), "labels_sha256": digest},
        "lint": checks,
        "classes": class_counts(labels.votes),
        "options": [],
        "trainings": {},
        "failures": {},
        "galaxies_per_second": {},
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": available_cores()},
        "versions": {
            "tuningfork": __version__,
            "python": platform.python_version(),
            **{library: metadata.version(library) for library in _LIBRARIES},
        },
    }


def _is_done(output: Path, training: PlannedTraining) -> bool:
    return (output / training.folder / "result.json").exists()


def _as_planned_before(training: PlannedTraining, study: dict[str, Any]) -> PlannedTraining:
    before = study["trainings"].get(training.folder)
    if before is None:
        return training
    return replace(training, recipe=training.recipe.changed(epochs=before["epochs"]), full_epochs=before["full_epochs"])


def _within_budget(
    waiting: list[PlannedTraining], study: dict[str, Any], budget: float
) -> tuple[list[PlannedTraining], list[str]]:
    """The trainings cut to `budget` seconds, and the folders of those that get none of it."""
    started = time.monotonic()
    fresh = [training for training in waiting if training.folder not in study["trainings"]]
    galaxies = {"votes": study["lint"]["rows"], "both": study["lint"]["rows"]}
    galaxies["classes"] = sum(list(study["classes"].values())[:-2])
    speeds, seconds = study["galaxies_per_second"], {}
    for training in waiting:
        recipe = training.recipe
        key = f"{training.recipe_name} at {recipe.size} px, batch {recipe.batch}"
        if key not in speeds:
            speeds[key] = galaxies_per_second(recipe)
            logger.info("%s: %.0f galaxies/s", key, speeds[key])
        seconds[training.name] = max(_TRAIN_SHARE * galaxies[recipe.task] / speeds[key], 1e-3)
    begun = [training for training in waiting if training not in fresh]
    left = budget - (time.monotonic() - started)
    left -= sum(seconds[training.name] * training.recipe.epochs for training in begun)
    # In the order of the plan, whether begun before or not.
    by_folder = {each.folder: each for each in [*begun, *fit_budget(fresh, seconds, max(left, 0))]}
    ordered = [by_folder[training.folder] for training in waiting if training.folder in by_folder]
    return ordered, [training.folder for training in fresh if training.folder not in by_folder]


def _train(training: PlannedTraining, data: PaperData, output: Path, cache: Path, hardware: Hardware) -> str:
    """Run one training; returns "" or why it failed."""
    recipe, folder = training.recipe, output / training.folder
    options = {
        "recipe": training.recipe_name, "labels": data.labels, "images": data.images, "output": folder,
        "name": f"{training.recipe_name.replace('/', '-')}-{recipe.seed}", "size": recipe.size,
        "epochs": recipe.epochs, "batch": recipe.batch, "seed": recipe.seed, "cache": cache,
        "workers": hardware.workers, "threads": hardware.threads,
    }  # fmt: skip
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    words += ["--init", "scratch"] if not recipe.init else []
    code, last = _train_apart([*words, "--resume"])
    if code == 130:
        raise KeyboardInterrupt
    # 3: some images or rows could not be used; the run names them, and is complete.
    if code in (0, 3) and (folder / "result.json").exists():
        # It is only for resuming.
        (folder / "last.ckpt").unlink(missing_ok=True)
        return ""
    return last.removeprefix("error: ") or f"exit code {code}"


def _train_apart(words: Sequence[str]) -> tuple[int, str]:
    """`tuningfork train` in a process of its own, which may run out of memory: its exit code and its last line."""
    last = ""
    # In a group of its own, so that an interrupt at the terminal reaches it once, from here.
    with subprocess.Popen(
        [*python_command("-m", "tuningfork", "train"), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(),
        process_group=0,
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                last = line.strip() or last
                logger.info("    %s", line.rstrip())
        except KeyboardInterrupt:
            # It leaves a checkpoint behind.
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
    return process.returncode, last


def _write(output: Path, study: dict[str, Any]) -> None:
    write_text(output / "study.json", json.dumps(study, indent=1) + "\n")
