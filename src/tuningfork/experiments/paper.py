"""The paper from its data to its tables: lint, classes, split, trainings, ensembles; each step once, resumable."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .. import __version__
from .._utils.files import atomic_file, write_text
from .._utils.processes import available_cores, child_environment, python_command
from ..model.bundle import Bundle, open_bundle, write_bundle
from ..model.model import load
from ..pipeline.options import ExecutionOptions
from ..pipeline.predict import predict_files
from ..tables import read_table, table_writer
from ..training.run_files import write_result
from ..votes.class_counts import class_counts
from ..votes.label_table import read_labels
from ..votes.lint import lint
from ..votes.tree_files import load_tree
from .plan import ENSEMBLES, Planned, StudyError, allotted, ensemble_members, experiments, plan
from .runs import read_study
from .scores import best_run
from .throughput import galaxies_per_second

__all__ = ["PaperData", "find_data", "paper_study", "submit"]

_LIBRARIES = ("numpy", "torch", "timm", "lightning", "onnxruntime")
#: Share of the labelled galaxies that a training goes through, for an estimate of its time.
_TRAINED = 0.81


@dataclass(frozen=True)
class PaperData:
    """The challenge's files: labels and pictures to learn from, and, where they are, pictures to submit."""

    labels: Path
    images: Path
    test_images: Path | None


def find_data(folder: Path) -> PaperData:
    """Find Kaggle's files in a folder, as they are unpacked. Raises StudyError, naming what is missing."""
    labels = next(iter(sorted(folder.glob("*training_solutions_rev1*.csv"))), None)
    images = next((path for path in sorted(folder.glob("images_training*")) if path.is_dir()), None)
    for found, what in ((labels, "training_solutions_rev1.csv"), (images, "folder images_training_rev1")):
        if found is None:
            raise StudyError(f"{folder} has no {what}; unpack the challenge's files there")
    test = next((path for path in sorted(folder.glob("images_test*")) if path.is_dir()), None)
    return PaperData(labels, images, test)


def paper_study(
    data: PaperData,
    output: Path,
    *,
    settings: str = "paper",
    only: Sequence[str] = (),
    seeds: int = 1,
    budget: float | None = None,
    quick: bool = False,
    size: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    cache: Path | None = None,
    workers: int = 1,
    threads: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Carry out what is not yet done of the study in `output`; the same call goes on after an interruption.

    Parameters
    ----------
    settings : "paper" or "fair"
        The paper's own, or one schedule for all networks.
    only : patterns
        Of experiments' names, such as ``classes-*``; all, if empty.
    seeds : int
        Repeats of every training, on the same split.
    budget : float, optional
        Minutes for all that is not yet done. Trainings are cut to fewer epochs, and so marked, or left out.
    quick : bool
        A few networks at 32 px for one epoch: whether all works, not how well.

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
    names = experiments(only, quick=quick)
    note = _begin(data, output)
    for line in _labels_told(note):
        say(line)
    trainings = plan(names, settings, seeds=seeds, size=size, epochs=epochs, batch=batch, quick=quick)
    # What was planned before keeps its length: half a training cannot get another schedule.
    trainings = [_as_before(training, note) for training in trainings]
    waiting = [training for training in trainings if not _is_done(output, training)]
    say(f"{len(trainings)} trainings, {len(trainings) - len(waiting)} of them done")
    note["options"].append({"settings": settings, "only": list(only), "seeds": seeds, "budget_minutes": budget,
                            "quick": quick, "size": size, "epochs": epochs, "batch": batch})  # fmt: skip
    left_out: list[str] = []
    if budget is not None:
        waiting, left_out = _within(waiting, note, budget * 60, say)
    told = {entry.folder for entry in waiting}
    for training in [*waiting, *(entry for entry in trainings if _is_done(output, entry))]:
        if training.folder in told or training.folder not in note["trainings"]:
            note["trainings"][training.folder] = {
                "recipe": training.recipe_name,
                "epochs": training.recipe.epochs,
                "full_epochs": training.full_epochs,
            }
    _write(output, note)
    for number, training in enumerate(waiting, 1):
        if budget is not None and time.monotonic() - started > budget * 60:
            left_out += [each.folder for each in waiting[number - 1 :]]
            break
        short = "" if training.recipe.epochs == training.full_epochs else f" of {training.full_epochs}"
        say(f"[{number}/{len(waiting)}] {training.recipe_name}, seed {training.recipe.seed}: "
            f"{training.recipe.size} px, {training.recipe.epochs}{short} epochs")  # fmt: skip
        reason = _train(training, data, output, cache or output / "cache", workers, threads, say)
        if reason:
            note["failures"][training.folder] = reason
            say(f"failed: {training.folder}: {reason}")
        else:
            note["failures"].pop(training.folder, None)
        _write(output, note)
    for line in left_out:
        say(f"no time for {line}; give the same command again")
    note["left_out"] = left_out
    for name in names:
        if name in ENSEMBLES:
            for seed in range(seeds):
                _ensemble(name, settings, seed, output, say)
    _write(output, note)
    return note


def submit(data: PaperData, output: Path, progress: Callable[[int, int], None] | None = None) -> str:
    """Write ``submission.csv``: the challenge's test pictures by the study's best votes, chosen on the validation part.

    Returns
    -------
    str
        What was done, or why there was nothing to do.
    """
    if data.test_images is None:
        return "no test pictures (folder images_test_rev1), so no submission"
    chosen = best_run(read_study(output).everything, "votes")
    if chosen is None:
        return "no training tells votes, so no submission"
    file, mark = output / "submission.csv", output / "submission.json"
    model = load(chosen.folder / "bundle")
    about = {"model": chosen.name, "sha256": model.bundle.sha256, "images": str(data.test_images)}
    if file.exists() and mark.exists() and json.loads(mark.read_text("utf-8")) == about:
        return f"{file}: written before, by {chosen.name}"
    done = predict_files(
        model,
        [data.test_images],
        file,
        execution=ExecutionOptions(resume=True),
        layout="kaggle",
        progress=progress,
    )
    write_text(mark, json.dumps(about, indent=1) + "\n")
    return f"{file}: {done.rows} galaxies, {done.failed} failed, by {chosen.name}"


def _begin(data: PaperData, output: Path) -> dict[str, Any]:
    """study.json as it stands, or a new one with what the labels are worth."""
    digest = hashlib.sha256(data.labels.read_bytes()).hexdigest()
    path = output / "study.json"
    if path.exists():
        note = json.loads(path.read_text("utf-8"))
        if note.get("data", {}).get("labels_sha256") != digest:
            raise StudyError(f"{output} holds a study of other labels; name another folder")
        return note
    output.mkdir(parents=True, exist_ok=True)
    labels = read_labels(data.labels, load_tree("gz2"))
    judged = lint(labels).to_dict()
    counts = class_counts(labels.votes)
    for key in ("unusable_rows", "broken_sums"):
        judged[f"{key}_count"] = len(judged[key])
        judged[key] = judged[key][:100]
    return {
        "format": "tuningfork-study",
        "version": 1,
        "data": {"labels": str(data.labels), "images": str(data.images), "labels_sha256": digest},
        "lint": judged,
        "classes": counts,
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


def _labels_told(note: dict[str, Any]) -> list[str]:
    judged, classes = note["lint"], note["classes"]
    return [
        f"labels: {judged['rows']} rows, {judged['complete_rows']} complete, "
        f"{judged['unusable_rows_count']} unusable, {judged['broken_sums_count']} broken sums",
        "classes: " + ", ".join(f"{name} {count}" for name, count in classes.items()),
    ]


def _is_done(output: Path, training: Planned) -> bool:
    return (output / training.folder / "result.json").exists()


def _as_before(training: Planned, note: dict[str, Any]) -> Planned:
    before = note["trainings"].get(training.folder)
    if before is None:
        return training
    return replace(training, recipe=training.recipe.changed(epochs=before["epochs"]), full_epochs=before["full_epochs"])


def _within(
    waiting: list[Planned], note: dict[str, Any], budget: float, say: Callable[[str], None]
) -> tuple[list[Planned], list[str]]:
    """The trainings cut to the budget, and the folders of those that get none of it."""
    started = time.monotonic()
    fresh = [training for training in waiting if training.folder not in note["trainings"]]
    galaxies = {"votes": note["lint"]["rows"], "both": note["lint"]["rows"]}
    galaxies["classes"] = sum(list(note["classes"].values())[:-2])
    seconds = {}
    for training in waiting:
        recipe = training.recipe
        key = f"{training.recipe_name} at {recipe.size} px, batch {recipe.batch}"
        if key not in note["galaxies_per_second"]:
            note["galaxies_per_second"][key] = galaxies_per_second(recipe)
            say(f"{key}: {note['galaxies_per_second'][key]:.0f} galaxies/s")
        seconds[training.name] = max(_TRAINED * galaxies[recipe.task] / note["galaxies_per_second"][key], 1e-3)
    left = budget - (time.monotonic() - started)
    begun = [training for training in waiting if training not in fresh]
    left -= sum(seconds[training.name] * training.recipe.epochs for training in begun)
    chosen = allotted(fresh, seconds, max(left, 0))
    kept = {training.folder for training in chosen}
    # In the order of the plan, whether begun before or not.
    by_folder = {training.folder: training for training in [*begun, *chosen]}
    ordered = [by_folder[training.folder] for training in waiting if training.folder in by_folder]
    return ordered, [training.folder for training in fresh if training.folder not in kept]


def _train(
    training: Planned,
    data: PaperData,
    output: Path,
    cache: Path,
    workers: int,
    threads: int,
    say: Callable[[str], None],
) -> str:
    """Run one training in a process of its own, whose memory and death are its own; "" or why it failed."""
    recipe = training.recipe
    command = [
        *python_command("-m", "tuningfork", "train"),
        "--recipe", training.recipe_name,
        "--labels", str(data.labels),
        "--images", str(data.images),
        "--output", str(output / training.folder),
        "--name", f"{training.recipe_name.replace('/', '-')}-{recipe.seed}",
        "--size", str(recipe.size),
        "--epochs", str(recipe.epochs),
        "--batch", str(recipe.batch),
        "--seed", str(recipe.seed),
        "--cache", str(cache),
        "--workers", str(workers),
        "--threads", str(threads),
        "--resume",
    ]  # fmt: skip
    last = ""
    # In a group of its own, so that an interrupt at the terminal reaches it once, from here.
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=child_environment(), process_group=0
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                last = line.strip() or last
                say(f"    {line.rstrip()}")
        except KeyboardInterrupt:
            # It leaves a checkpoint behind.
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
    if process.returncode == 130:
        raise KeyboardInterrupt
    # 3: some pictures or rows could not be used; the run says which, and is whole.
    if process.returncode in (0, 3) and (output / training.folder / "result.json").exists():
        _forget(output / training.folder)
        return ""
    return last.removeprefix("error: ") or f"exit code {process.returncode}"


def _forget(run: Path) -> None:
    """The last checkpoint is for going on; of a whole run the best one is enough."""
    (run / "last.ckpt").unlink(missing_ok=True)


def _ensemble(name: str, settings: str, seed: int, output: Path, say: Callable[[str], None]) -> None:
    """The plain mean of the members' predictions, as a bundle of all their networks."""
    members = [output / f"runs/{settings}-{member}/seed-{seed}" for member in ensemble_members(name)]
    if not all((member / "result.json").exists() for member in members):
        return
    folder = output / "ensembles" / f"{settings}-{name.removeprefix('ensemble-')}-seed-{seed}"
    results = [json.loads((member / "result.json").read_text("utf-8")) for member in members]
    digests = [hashlib.sha256((member / "predictions.parquet").read_bytes()).hexdigest() for member in members]
    if (folder / "result.json").exists():
        before = json.loads((folder / "result.json").read_text("utf-8"))
        if before.get("members_sha256") == digests:
            return
    tables = [read_table(member / "predictions.parquet") for member in members]
    first = tables[0]
    if any(table["id"] != first["id"] for table in tables):
        raise StudyError(f"{folder.name}: its members predicted other galaxies; were they trained on one split?")
    numbers = [column for column in first.column_names if column not in ("id", "part")]
    mean = {column: np.mean([table[column].to_numpy() for table in tables], 0) for column in numbers}
    table = pa.table({column: mean.get(column, first[column]) for column in first.column_names}, schema=first.schema)
    folder.mkdir(parents=True, exist_ok=True)
    bundles = [open_bundle(member / "bundle") for member in members]
    write_bundle(_joined(bundles, folder.name), folder / "bundle")
    with table_writer(folder / "predictions.parquet", table.schema) as write:
        write(table)
    with atomic_file(folder / "truth.parquet") as beside:
        shutil.copyfile(members[0] / "truth.parquet", beside)
    write_result(folder / "result.json", {
        "name": folder.name,
        "network": " + ".join(result["network"] for result in results),
        "task": results[0]["task"],
        "size": results[0]["size"],
        "seed": seed,
        "members": [str(member.relative_to(output)) for member in members],
        "members_sha256": digests,
        "initial_weights": " + ".join(dict.fromkeys(result["initial_weights"] for result in results)),
        "epochs": max(result["epochs"] for result in results),
        "epochs_planned": max(result["epochs_planned"] for result in results),
        "parameters": sum(result["parameters"] for result in results),
        "seconds": sum(result["seconds"] for result in results),
        "peak_memory_mb": max(result["peak_memory_mb"] for result in results),
        "counts": results[0]["counts"],
        "notes": results[0]["notes"],
        "versions": results[0]["versions"],
    })  # fmt: skip
    say(f"ensemble: {folder}")


def _joined(bundles: Sequence[Bundle], name: str) -> Bundle:
    first = bundles[0]
    return replace(
        first,
        name=name,
        title=" + ".join(bundle.networks[0].architecture for bundle in bundles) + f", {first.tree.title}",
        description=f"Plain mean of {len(bundles)} networks. {first.description}",
        networks=tuple(network for bundle in bundles for network in bundle.networks),
        figures={},
        training={**first.training, "members": [bundle.sha256 for bundle in bundles]},
    )


def _write(output: Path, note: dict[str, Any]) -> None:
    write_text(output / "study.json", json.dumps(note, indent=1) + "\n")
