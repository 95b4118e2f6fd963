"""Hyperparameter search: short trainings that optuna proposes, compared on the validation part alone."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from ..._utils.environment import available_cores
from ..._utils.locks import lock
from ..._utils.text import one_line
from ...training.initial.weights import check_init
from ...training.join import TrainError, read_training_set
from ...training.options import Hardware, TrainingOptions
from ...training.recipe import Recipe
from ...training.train import train
from ...votes.label_table import read_labels
from .output import SearchReport, TrialRow, write_files, write_trials
from .space import Dimension, apply_values, own_values, shorten, space_around, suggest
from .store import SearchError, check_fingerprint, fingerprint, open_study
from .trials import best_trial, importances, trial_rows, with_values

__all__ = ["SearchOptions", "search"]

logger = logging.getLogger(__name__)

#: Random proposals before optuna's model of the trials takes over.
_RANDOM_TRIALS = 8
#: So many failures, one after the other, end the search.
_MAX_FAILURES = 3
#: Files that stay of every trial, and of the best.
_FILES = ("run.json", "curves.csv", "result.json")
_FILES_OF_BEST = (*_FILES, "bundle", "best.ckpt", "split.csv")


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How a search proceeds.

    Parameters
    ----------
    n_trials : int
        Trials that are complete or pruned in the end, those of earlier calls included.
    epochs : int, optional
        Length of each trial; warm-up, patience and averaging are shortened alike. None: the recipe's.
    sizes : tuple of int
        Input sizes to choose from, in pixels; empty: the recipe's, and a quarter below and above it.
    minutes : float, optional
        After that time no further trial begins.
    seed : int
        Of the proposals; trainings keep the recipe's seed.
    command : str
        The command line, for the files that are written.
    """

    n_trials: int = 20
    epochs: int | None = None
    sizes: tuple[int, ...] = ()
    minutes: float | None = None
    seed: int = 0
    command: str = ""


class _NotLeading(Exception):
    """A training ran all its epochs without leading: its model is not needed."""


def search(
    labels: str | Path,
    images: Sequence[str | Path],
    output: str | Path,
    recipe: Recipe,
    options: SearchOptions = SearchOptions(),
    *,
    training: TrainingOptions = TrainingOptions(),
    hardware: Hardware = Hardware(),
    progress: Callable[[int, int], None] | None = None,
) -> SearchReport:
    """Search for better settings of `recipe`; called again with the same output, it continues.

    The first trial has the recipe's own settings, as near as the space has them. The test part is not used.

    Parameters
    ----------
    labels, images
        As `train` takes them.
    output : path
        Folder for search.sqlite3, trials/NUMBER, and the files of `write_files`.
    training : TrainingOptions
        Of which `init` and `cache` are used.
    hardware : Hardware
        Of which `workers` and `threads` are used.
    progress : function of (images read, images in all), optional
        Called before the first trial.

    Raises
    ------
    SearchError
        If the folder holds another search, or trial after trial fails.
    TrainError, CacheError
        If the data are unusable.
    """
    started = time.monotonic()
    output = Path(output)
    if options.sizes and recipe.size not in options.sizes:
        recipe = recipe.changed(size=min(options.sizes, key=lambda size: abs(size - recipe.size)))
    short = shorten(recipe, options.epochs)
    space = space_around(short, options.sizes)
    output.mkdir(parents=True, exist_ok=True)
    # A second search would take the first one's trial for that of a killed one.
    busy = SearchError(f"{output}: another search is running there; wait for it, or name another folder")
    with lock(output / ".search.lock", busy), open_study(output / "search.sqlite3") as study:
        check_init(short, training.init)
        table = read_labels(labels, short.tree, learning=True)
        cache = Path(training.cache) if training.cache else None
        data = read_training_set(table, [Path(path) for path in images], short, cache, progress)
        check_fingerprint(study, output, fingerprint(data, short, space, training.init, options.seed))
        counts = data.counts(table.tree)["galaxies"]
        logger.info(
            "galaxies: %d to train on, %d to validate on; left out: %d",
            counts["train"], counts["validation"], len(data.errors),
        )  # fmt: skip
        _replace_killed(study, output)

        def report(final: bool = False) -> SearchReport:
            return SearchReport(
                rows=trial_rows(study, space),
                monitor=short.monitor,
                n_trials=options.n_trials,
                recipe=recipe,
                short=short,
                space=space,
                importances=importances(study) if final else {},
                command=options.command,
                hardware=_hardware(hardware.threads),
                counts=counts,
                errors=data.errors,
            )

        def run(folder: Path, values: dict[str, float], on_epoch: Callable[[int, dict[str, float]], None]) -> None:
            train(
                labels,
                images,
                folder,
                apply_values(short, values),
                options=replace(training, name=f"trial-{folder.name}"),
                hardware=replace(hardware, devices="1"),
                on_epoch=on_epoch,
            )

        failures, current = 0, report()
        try:
            while len(current.finished) < options.n_trials:
                if options.minutes is not None and time.monotonic() - started >= 60 * options.minutes:
                    logger.info("%g minutes are over; run the same command again to continue", options.minutes)
                    break
                row = _run_trial(_ask(study, options.seed, space), study, output, space, short, run)
                current = report()
                write_trials(output / "trials.csv", current)
                logger.info("%s", _line(row, current))
                failures = failures + 1 if row.state == "failed" else 0
                if failures == _MAX_FAILURES:
                    raise SearchError(f"{failures} trials in a row failed, the last with: {row.reason}")
        finally:
            current = report(final=True)
            write_files(output, current, with_values(study))
        return current


def _run_trial(
    trial: optuna.Trial,
    study: optuna.Study,
    output: Path,
    space: Sequence[Dimension],
    recipe: Recipe,
    run: Callable[[Path, dict[str, float], Callable[[int, dict[str, float]], None]], Any],
) -> TrialRow:
    folder = output / "trials" / f"{trial.number:04d}"
    shutil.rmtree(folder, ignore_errors=True)  # of a search whose file was deleted
    leader = best_trial(study)
    best = None if leader is None else leader.value
    scores: list[float] = []

    def on_epoch(epoch: int, figures: dict[str, float]) -> None:
        value = figures.get(recipe.monitor, math.nan)
        if math.isfinite(value):
            scores.append(value)
            trial.report(value, epoch)
        if epoch < recipe.epochs:
            if trial.should_prune():
                raise optuna.TrialPruned(f"no better than the median of the complete trials at epoch {epoch}")
        elif best is not None and scores and min(scores) >= best:
            # Export and prediction take as long as some epochs; only a trial that leads is worth them.
            raise _NotLeading

    started = time.monotonic()
    state, reason = TrialState.COMPLETE, ""
    try:
        values = suggest(trial, space)
        with suppress(_NotLeading):
            run(folder, values, on_epoch)
        if not scores:
            raise TrainError(f"no epoch gave a finite {recipe.monitor}")
    except optuna.TrialPruned as error:
        state, reason = TrialState.PRUNED, str(error)
    except (TrainError, RuntimeError, AssertionError, ValueError) as error:
        if not _training_began(folder):
            _abandon(study, trial, output, "stopped before the training began")
            raise
        # Where the loss diverges is information on the space: optuna learns from a pruned trial, not from a failed one.
        state = TrialState.PRUNED if isinstance(error, TrainError) else TrialState.FAIL
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        reason = ("" if state is TrialState.PRUNED else f"{type(error).__name__}: ") + one_line(first, 300)
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        _abandon(study, trial, output, "interrupted" if interrupted else f"{type(error).__name__}: {error}")
        raise
    trial.set_user_attr("seconds", time.monotonic() - started)
    trial.set_user_attr("reason", reason)
    study.tell(trial, min(scores) if state is TrialState.COMPLETE else None, state)
    _remove_large_files(study, output)
    return next(row for row in trial_rows(study, space) if row.number == trial.number)


def _ask(study: optuna.Study, seed: int, space: Sequence[Dimension]) -> optuna.Trial:
    before = study.get_trials(deepcopy=False)
    if not before:
        study.enqueue_trial(own_values(space))
    # A seed for each proposal, so that a resumed search proposes what an uninterrupted one would have.
    proposals = sum("again_for" not in trial.user_attrs for trial in before)
    sampler_seed = (seed * 1_000_003 + proposals) % 2**32
    study.sampler = optuna.samplers.TPESampler(n_startup_trials=_RANDOM_TRIALS, seed=sampler_seed)
    return study.ask()


def _abandon(study: optuna.Study, trial: optuna.Trial, output: Path, reason: str) -> None:
    """Mark a trial as failed that was stopped from outside; its values get another trial."""
    trial.set_user_attr("reason", reason)
    study.tell(trial, state=TrialState.FAIL)
    _propose_again(study, study.trials[trial.number], output)


def _replace_killed(study: optuna.Study, output: Path) -> None:
    """Mark trials of a killed search as failed, and propose their values once more."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        _propose_again(study, trial, output)
        logger.info("trial %d was killed; another one gets its settings", trial.number)


def _propose_again(study: optuna.Study, trial: FrozenTrial, output: Path) -> None:
    shutil.rmtree(output / "trials" / f"{trial.number:04d}", ignore_errors=True)
    # Once: values that kill the process, for example by their use of memory, would do so for ever.
    if trial.params and "again_for" not in trial.user_attrs:
        study.enqueue_trial(trial.params, user_attrs={"again_for": trial.number})


def _training_began(folder: Path) -> bool:
    """Whether the data and the network were valid and the training itself had begun."""
    try:
        return "initial_weights" in json.loads((folder / "run.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False


def _remove_large_files(study: optuna.Study, output: Path) -> None:
    """Only small files of each trial stay, and the model of the best.

    Predictions are removed even of the best: they include the test part, which a search must not use.
    """
    best = best_trial(study)
    for folder in (output / "trials").glob("[0-9]*"):
        names = _FILES_OF_BEST if best is not None and int(folder.name) == best.number else _FILES
        for path in folder.iterdir():
            if path.name not in names:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _line(row: TrialRow, report: SearchReport) -> str:
    value = "" if row.value is None else f", {report.monitor} {row.value:.4f}"
    best = "" if report.best is None else f"; best {report.best.value:.4f} (trial {report.best.number})"
    return (
        f"trial {row.number}, {len(report.finished)} of {report.n_trials} done: {row.state} after {row.epochs} epochs "
        f"and {row.seconds or 0:.0f} s{value}{f' ({row.reason})' if row.reason else ''}{best}"
    )


def _hardware(threads: int) -> str:
    cores = available_cores()
    used = f"{threads or cores} of {cores} cores"
    return f"{torch.cuda.get_device_name()}, {used}" if torch.cuda.is_available() else f"{used}, no GPU"
